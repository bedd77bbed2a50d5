"""Elimination in phases under a known budget: what Successive Rejects and Sequential Halving share."""

from collections.abc import Callable, Iterable

import numpy as np

from bandit.policy import behind
from bandit.view import View

Schedule = Callable[[int, int], Iterable[tuple[int, int]]]
"""(arms, budget in blocks) -> phases: (blocks that each arm left shall have met, arms to keep then)."""


def next_in_schedule(schedule: Schedule, budget: int, view: View, rng: np.random.Generator) -> np.ndarray:
    """Return the (W,) arm that is furthest behind in its phase; after the last phase, an arm that is left.

    Nothing is remembered: the phases are those of the arms now on offer, and each is judged by the blocks that its arms
    had met when it ended, that is by the first ones. So an arm that joins later goes through the same phases on the
    same blocks as if it had been there from the start, and one that it pushes up is pulled again. (A simulation, where
    nobody joins, may keep what a phase that has ended everywhere left over: `View.settled`.)
    """
    chosen = np.zeros(len(view.n), dtype=int)
    sizes = view.offered.sum(axis=1)
    for size in np.unique(sizes):
        worlds = sizes == size
        alive = view.offered & worlds[:, None]
        for phase in schedule(int(size), budget):
            if phase in view.settled:
                alive = view.settled[phase]
                continue
            blocks, keep = phase
            ended = (worlds & (~alive | (view.n >= blocks)).all(axis=1))[:, None]
            if not ended.any():
                break
            alive = np.where(ended, _top(alive, view.prefix_means(blocks), keep), alive)
            worlds = ended[:, 0]
            if worlds.all():
                view.settled[phase] = alive
        here = sizes == size
        chosen[here] = behind(alive | ~here[:, None], view, rng)[here]
    return chosen


def _top(alive: np.ndarray, means: np.ndarray, keep: int) -> np.ndarray:
    """Return the `keep` arms alive (W, K) of the highest mean; of equal ones the first."""
    order = np.argsort(np.where(alive, -means, np.inf), axis=1, kind="stable")
    top = np.zeros_like(alive)
    np.put_along_axis(top, order[:, :keep], True, axis=1)
    return top & alive

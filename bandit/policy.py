"""What every policy shares: untried arms first, ties at random, one choice in each of many worlds."""

from dataclasses import dataclass

import numpy as np

from bandit.settings import PolicySettings
from bandit.view import View, view_of
from core.interfaces import Table


@dataclass(frozen=True)
class Policy:
    """A bandit policy: its settings, and the rule `choose`. It has no other state: the table says all.

    A new policy is a subclass with `choose` alone. The same rule serves a run (`select`, one table) and a simulation
    (`next_arms`, thousands of worlds).
    """

    settings: PolicySettings
    needs_budget = False
    """Whether the rule depends on `settings.budget`: a simulation then runs it anew for every budget."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the (W,) positions of the arms to pull, when every arm on offer has results.

        Arms that are not on offer must not be chosen; `best` and `pick` see to it.
        """
        raise NotImplementedError

    def next_arms(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the (W,) positions of the arms to pull: an untried one at random while there is any, else `choose`.

        Raises:
            ValueError: no arm is on offer in some world.
        """
        untried = view.offered & (view.n == 0)
        first = untried.any(axis=1)
        if first.all():
            return pick(untried, rng)
        chosen = self.choose(view, rng)
        return np.where(first, pick(untried | ~first[:, None], rng), chosen) if first.any() else chosen

    def select(self, table: Table, rng: np.random.Generator) -> str:
        """Return the arm to pull in a run: see `core.interfaces.BanditPolicy`.

        Raises:
            ValueError: the table has no arm, or a reward that is not finite.
        """
        view = view_of(table)
        return view.arms[int(self.next_arms(view, rng)[0])]


def pick(candidates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the (W,) position of one of the candidates (W, K), each equally likely.

    Raises:
        ValueError: a world has no candidate.
    """
    counts = candidates.sum(axis=1)
    if not counts.all():
        raise ValueError("no arm to choose from; add one to the pool first")
    nth = rng.integers(counts)
    return np.argmax(np.cumsum(candidates, axis=1) > nth[:, None], axis=1)


def best(index: np.ndarray, offered: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the (W,) position of an arm on offer with the highest index (W, K), +inf allowed, ties at random."""
    index = np.where(offered, index, -np.inf)
    return pick(offered & (index == index.max(axis=1, keepdims=True)), rng)


def behind(candidates: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Return the (W,) position of a candidate (W, K) that has met the fewest blocks, ties at random."""
    return best(-view.n.astype(float), candidates, rng)

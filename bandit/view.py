"""What a policy sees: the rewards of many worlds at once. A run's table is one world, a simulation thousands."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bandit.components import Components, components
from bandit.posterior import Posterior, joint_posterior
from bandit.statistics import mean, pooled_sd
from core.interfaces import Table


@dataclass(frozen=True)
class View:
    """Rewards and their simplest statistics, in W worlds of K arms on B blocks.

    Attributes:
        cells: gives `values` and `met`; only asked by policies that need single rewards.
        n: (W, K) blocks met.
        mean: (W, K) mean reward, 0 without any.
        pooled: (W,) pooled within-arm standard deviation (`bandit.statistics.pooled_sd`).
        offered: (W, K) which arms may be chosen.
        birth: (K,) rank of the arms by age, the oldest 0.
        arms: ids of the arms of a run; empty in a simulation.
        known: variance components to use instead of estimating them anew.
    """

    cells: Callable[[], tuple[np.ndarray, np.ndarray]]
    n: np.ndarray
    mean: np.ndarray
    pooled: np.ndarray
    offered: np.ndarray
    birth: np.ndarray
    arms: Sequence[str] = field(default=())
    known: Components | None = None

    @property
    def values(self) -> np.ndarray:
        """(W, K, B) rewards in the order of the blocks; 0 where an arm has not met a block."""
        return self._cells[0]

    @property
    def met(self) -> np.ndarray:
        """(W, K, B) 1.0 where an arm has met a block, else 0.0."""
        return self._cells[1]

    @functools.cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        return self.cells()

    @functools.cached_property
    def total(self) -> np.ndarray:
        """(W,) blocks met by all arms together."""
        return self.n.sum(axis=1)

    @functools.cached_property
    def components(self) -> Components:
        """The variance components of the rewards: see `bandit.components`."""
        return self.known or components(self.values, self.met)

    @functools.cached_property
    def posterior(self) -> Posterior:
        """The joint posterior of the arms' means: see `bandit.posterior`."""
        return joint_posterior(self.values, self.met, self.components)

    def variance(self) -> np.ndarray:
        """Return the (W, K) mean squared deviation of each arm's rewards from their mean, 0 without any."""
        squares = self.met * (self.values - self.mean[:, :, None]) ** 2
        return squares.sum(axis=2) / np.maximum(self.n, 1)

    def scale(self, reward_scale: str) -> np.ndarray:
        """Return the (W,) unit behind a `reward_scale`: see PolicySettings."""
        return np.ones_like(self.pooled) if reward_scale == "none" else self.pooled

    def prefix_means(self, count: int) -> np.ndarray:
        """Return the (W, K) mean of each arm's first `count` rewards, or of all when there are fewer."""
        sums, counts = self._running
        last = np.minimum((counts < count).sum(axis=2), counts.shape[2] - 1)[:, :, None]
        return np.take_along_axis(sums, last, axis=2)[:, :, 0] / np.clip(self.n, 1, count)

    @functools.cached_property
    def _running(self) -> tuple[np.ndarray, np.ndarray]:
        return np.cumsum(self.values, axis=2), np.cumsum(self.met, axis=2)


def view_of(table: Table) -> View:
    """Return a run's table as a view of one world; the order of the table's arms and blocks does not matter.

    Means and spread are `bandit.statistics`' own, whose sums are exact.

    Raises:
        ValueError: there is no arm, or a reward is not finite.
    """
    if not table:
        raise ValueError("no arm to choose from; add one to the pool first")
    arms = sorted(table)
    blocks = {block: place for place, block in enumerate(sorted({b for a in arms for b in table[a]}, key=_natural))}
    values, met = np.zeros((2, 1, len(arms), len(blocks)))
    for row, arm in enumerate(arms):
        places = [blocks[block] for block in table[arm]]
        values[0, row, places] = list(table[arm].values())
        met[0, row, places] = 1.0
    if not np.isfinite(values).all():
        raise ValueError("a reward is NaN or infinite; rewards must be finite")
    means = [mean(table[arm].values()) if table[arm] else 0.0 for arm in arms]
    age = {arm: rank for rank, arm in enumerate(sorted(arms, key=_natural))}
    return View(
        cells=lambda: (values, met),
        n=np.array([[len(table[arm]) for arm in arms]]),
        mean=np.array([means]),
        pooled=np.array([pooled_sd(table)]),
        offered=np.ones((1, len(arms)), dtype=bool),
        birth=np.array([age[arm] for arm in arms]),
        arms=arms,
    )


@functools.lru_cache(maxsize=100_000)
def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Order ids as people do, r2c0 before r10c0: the order of birth of arms and of meeting of blocks."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def log_of(counts: np.ndarray) -> np.ndarray:
    """Return the natural logarithms of whole numbers.

    The C library's, not NumPy's: the last bit of NumPy's depends on the processor's vector unit, and with it might
    a run's choices.
    """
    values, where = np.unique(counts, return_inverse=True)
    return np.array([math.log(value) if value > 0 else 0.0 for value in values])[where].reshape(counts.shape)

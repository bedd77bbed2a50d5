"""What a policy sees: the rewards of many worlds at once. A run's table is one world, a simulation thousands."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bandit.cells import Cells
from bandit.components import Components
from bandit.paired import Differences
from bandit.posterior import lineage
from bandit.statistics import mean, pooled_sd
from core.interfaces import Table


class Belief(Protocol):
    """A joint Gaussian of the arms' means: `bandit.posterior`, or where arms met first blocks `bandit.nested`."""

    @property
    def mean(self) -> np.ndarray:
        """(W, K) means."""
        ...

    def sample(self, rng: np.random.Generator, draws: int = 1) -> np.ndarray:
        """Return (draws, W, K) joint samples."""
        ...

    def difference_variance(self, arm: np.ndarray) -> np.ndarray:
        """Return the (W, K) posterior variance of mean(arm) - mean(k); `arm` is (W,)."""
        ...


class Evidence(Protocol):
    """The single rewards behind a view, in whatever form they are kept: `bandit.cells`, `bandit.prefixes`."""

    @property
    def components(self) -> Components:
        """The variance components: see `bandit.components`."""
        ...

    @property
    def posterior(self) -> Belief:
        """The joint posterior of the arms' means: see `bandit.posterior`."""
        ...

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """Return the (W, K) mean squared deviation of each arm's rewards from their mean (W, K), 0 without any."""
        ...

    def prefix_means(self, count: int) -> np.ndarray:
        """Return the (W, K) mean of each arm's first `count` rewards, or of all when there are fewer."""
        ...

    def against(self, arm: np.ndarray) -> Differences:
        """Return every arm's differences to `arm` (W,) on the blocks that both have met."""
        ...


@dataclass(frozen=True)
class View:
    """Rewards and their simplest statistics, in W worlds of K arms.

    Attributes:
        evidence: all else that can be known; only asked by policies that need more.
        n: (W, K) blocks met.
        mean: (W, K) mean reward, 0 without any.
        pooled: (W,) pooled within-arm standard deviation (`bandit.statistics.pooled_sd`).
        offered: (W, K) which arms may be chosen.
        birth: (K,) rank of the arms by age, the oldest 0.
        arms: ids of the arms of a run; empty in a simulation.
        settled: what no further pull can change while no arm joins; a simulation hands it on to its next view.
    """

    evidence: Evidence
    n: np.ndarray
    mean: np.ndarray
    pooled: np.ndarray
    offered: np.ndarray
    birth: np.ndarray
    arms: Sequence[str] = field(default=())
    settled: dict[Any, np.ndarray] = field(default_factory=dict)

    @functools.cached_property
    def total(self) -> np.ndarray:
        """(W,) blocks met by all arms together."""
        return self.n.sum(axis=1)

    @property
    def components(self) -> Components:
        """The variance components of the rewards."""
        return self.evidence.components

    @property
    def posterior(self) -> Belief:
        """The joint posterior of the arms' means."""
        return self.evidence.posterior

    def variance(self) -> np.ndarray:
        """Return the (W, K) mean squared deviation of each arm's rewards from their mean, 0 without any."""
        return self.evidence.variance(self.mean)

    def prefix_means(self, count: int) -> np.ndarray:
        """Return the (W, K) mean of each arm's first `count` rewards, or of all when there are fewer."""
        return self.evidence.prefix_means(count)

    def against(self, arm: np.ndarray) -> Differences:
        """Return every arm's differences to `arm` (W,) on the blocks that both have met."""
        return self.evidence.against(arm)

    def scale(self, reward_scale: str) -> np.ndarray:
        """Return the (W,) unit behind a `reward_scale`: see PolicySettings."""
        return np.ones_like(self.pooled) if reward_scale == "none" else self.pooled


def view_of(table: Table, parents: Mapping[str, str] | None = None) -> View:
    """Return a run's table as a view of one world; the order of the table's arms and blocks does not matter.

    Means and spread are `bandit.statistics`' own, whose sums are exact.

    Args:
        table: rewards by (arm, block).
        parents: the parent of each child, if the posterior shall know (`bandit.posterior.lineage`).

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
        evidence=Cells(values, met, None if parents is None else lineage(arms, parents)),
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

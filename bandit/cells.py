"""Rewards kept one by one: a run's table, or any set of tables with gaps wherever they may be."""

import functools
from dataclasses import dataclass

import numpy as np

from bandit.components import Components, components
from bandit.paired import Differences
from bandit.posterior import Posterior, joint_posterior


@dataclass(frozen=True)
class Cells:
    """Rewards of W worlds of K arms on B blocks; an `Evidence` (`bandit.view`).

    Attributes:
        values: (W, K, B) rewards in the order of the blocks; 0 where an arm has not met a block.
        met: (W, K, B) 1.0 where an arm has met a block, else 0.0.
        kinship: whose child an arm is, for the posterior: see `bandit.posterior.lineage`.
    """

    values: np.ndarray
    met: np.ndarray
    kinship: np.ndarray | None = None

    @functools.cached_property
    def components(self) -> Components:
        """The variance components: see `bandit.components`."""
        return components(self.values, self.met)

    @functools.cached_property
    def posterior(self) -> Posterior:
        """The joint posterior of the arms' means."""
        return joint_posterior(self.values, self.met, self.components, self.kinship)

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """Return the (W, K) mean squared deviation of each arm's rewards from these means (W, K), 0 without any."""
        squares = self.met * (self.values - mean[:, :, None]) ** 2
        return squares.sum(axis=2) / np.maximum(self.met.sum(axis=2), 1)

    def prefix_means(self, count: int) -> np.ndarray:
        """Return the (W, K) mean of each arm's first `count` rewards, or of all when there are fewer."""
        sums, counts = self._running
        last = np.minimum((counts < count).sum(axis=2), counts.shape[2] - 1)[:, :, None]
        return np.take_along_axis(sums, last, axis=2)[:, :, 0] / np.clip(counts[:, :, -1], 1, count)

    @functools.cached_property
    def _running(self) -> tuple[np.ndarray, np.ndarray]:
        return np.cumsum(self.values, axis=2), np.cumsum(self.met, axis=2)

    def against(self, arm: np.ndarray) -> Differences:
        """Return every arm's differences to `arm` (W,) on the blocks that both have met."""
        mine, seen = (np.take_along_axis(a, arm[:, None, None], axis=1) for a in (self.values, self.met))
        common = self.met * seen
        n = common.sum(axis=2)
        gaps = common * (self.values - mine)
        mean = gaps.sum(axis=2) / np.maximum(n, 1)
        squares = (common * (gaps - mean[:, :, None]) ** 2).sum(axis=2)
        return Differences(n, mean, squares)

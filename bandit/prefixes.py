"""Rewards of arms that have each met the first blocks of one sequence, kept as sums: what makes simulations fast."""

import numpy as np

from bandit.components import Components, from_pairs
from bandit.nested import NestedPosterior, nested_posterior
from bandit.paired import Differences

FRESH = 1.1
"""Growth of the evidence after which the variance components are estimated anew; a run does so for every choice."""


class Prefixes:
    """What W worlds of K arms have met so far, block by block; an `Evidence` (`bandit.view`) of this moment.

    Attributes:
        n: (W, K) blocks met, always the first ones.
        mean: (W, K) mean reward, 0 without any.
    """

    def __init__(self, worlds: int, arms: int) -> None:
        """Start without results."""
        self.n = np.zeros((worlds, arms), dtype=int)
        self.mean, self._squares = np.zeros((2, worlds, arms))
        self._within, self._freedom = np.zeros((2, worlds))
        self._rows = np.arange(worlds)
        self._by_block = np.zeros((3, worlds, 8))
        """On each block: how many arms have met it, the sum of their rewards, and of the rewards' squares."""
        self._running = np.zeros((worlds, arms, 9))
        """Sum of each arm's first 0, 1, ..., n rewards."""
        self._apart: np.ndarray | None = None
        self._parts: tuple[int, Components] | None = None
        self._posterior: NestedPosterior | None = None

    @property
    def blocks(self) -> int:
        """Blocks met so far in each world."""
        return int(self.n[0].sum())

    @property
    def pooled(self) -> np.ndarray:
        """(W,) pooled within-arm standard deviation, 1 while no arm has met two blocks."""
        return np.where(self._freedom > 0, np.sqrt(self._within / np.maximum(self._freedom, 1)), 1.0)

    def add(self, arms: np.ndarray, rewards: np.ndarray) -> None:
        """Let an arm (W,) of each world meet its next block, for these rewards (W,)."""
        rows, place = self._rows, self.n[self._rows, arms]
        if place.max() == self._by_block.shape[2]:
            self._by_block, self._running = _doubled(self._by_block), _doubled(self._running)
        self._by_block[:, rows, place] += np.stack([np.ones_like(rewards), rewards, rewards**2])
        self._running[rows, arms, place + 1] = self._running[rows, arms, place] + rewards
        off = rewards - self.mean[rows, arms]
        self.mean[rows, arms] += off / (place + 1)
        spread = off * (rewards - self.mean[rows, arms])
        self._squares[rows, arms] += spread
        self._within += spread
        self._freedom += place > 0
        if self._apart is not None:
            others = self._running[rows, :, place + 1] - self._running[rows, :, place]
            self._apart[rows, arms] += np.where(self.n > place[:, None], (others - rewards[:, None]) ** 2, 0.0)
        self.n[rows, arms] += 1
        self._posterior = None

    @property
    def components(self) -> Components:
        """The variance components: see `bandit.components`; estimated anew when the evidence has grown by FRESH."""
        if self._parts is None or self.blocks > FRESH * self._parts[0]:
            self._parts = self.blocks, self._estimate()
        return self._parts[1]

    @property
    def posterior(self) -> NestedPosterior:
        """The joint posterior of the arms' means: see `bandit.nested`."""
        if self._posterior is None:
            self._posterior = nested_posterior(self.n, self.mean, self._by_block[1], self.components)
        return self._posterior

    def variance(self, mean: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the means are known
        """Return the (W, K) mean squared deviation of each arm's rewards from their mean, 0 without any."""
        return self._squares / np.maximum(self.n, 1)

    def prefix_means(self, count: int) -> np.ndarray:
        """Return the (W, K) mean of each arm's first `count` rewards, or of all when there are fewer."""
        n = np.minimum(self.n, count)
        return self._sums(n) / np.maximum(n, 1)

    def against(self, arm: np.ndarray) -> Differences:
        """Return every arm's differences to `arm` (W,) on the blocks that both have met."""
        n = np.minimum(self.n, self.n[self._rows, arm][:, None])
        mean = (self._sums(n) - self._running[self._rows[:, None], arm[:, None], n]) / np.maximum(n, 1)
        if self._apart is None:
            self._apart = self._squared_gaps()
        squares = self._apart[self._rows, arm] + self._apart[self._rows, :, arm]
        return Differences(n, mean, np.maximum(squares - n * mean**2, 0.0))

    def _estimate(self) -> Components:
        met, sums, squares = self._by_block
        order = np.argsort(-self.n, axis=1, kind="stable")
        n = np.take_along_axis(self.n, order, axis=1)
        upto = self._running[self._rows[:, None, None], order[:, :, None], n[:, None, :]]
        gaps = upto - np.diagonal(upto, axis1=1, axis2=2)[:, None, :]
        total, alone = self.n.sum(axis=1), self._freedom == 0
        around_all = squares.sum(axis=1) - sums.sum(axis=1) ** 2 / np.maximum(total, 1)
        within = np.where(alone, around_all, self._within) / np.maximum(np.where(alone, total - 1, self._freedom), 1)
        return from_pairs(within, n[:, None, :], gaps, (met * squares - sums**2).sum(axis=1))

    def _squared_gaps(self) -> np.ndarray:
        """Return (W, K, K): above the diagonal the sum of two arms' squared differences on their common blocks."""
        arms, longest = self.n.shape[1], int(self.n.max())
        rewards = np.diff(self._running[:, :, : longest + 1], axis=2)
        apart = np.zeros((*self.n.shape, arms))
        for arm in range(arms - 1):
            later = slice(arm + 1, None)
            common = np.minimum(self.n[:, later], self.n[:, arm, None])[:, :, None] > np.arange(longest)
            apart[:, arm, later] = (common * (rewards[:, later] - rewards[:, arm, None]) ** 2).sum(axis=2)
        return apart

    def _sums(self, n: np.ndarray) -> np.ndarray:
        """Return the (W, K) sum of each arm's first n (W, K) rewards."""
        return np.take_along_axis(self._running, n[:, :, None], axis=2)[:, :, 0]


def _doubled(array: np.ndarray) -> np.ndarray:
    """Return the array with room for twice as many blocks on its last axis."""
    wider = np.zeros((*array.shape[:2], 2 * array.shape[2]))
    wider[:, :, : array.shape[2]] = array
    return wider

"""Variance components of rewards: how much of the spread is arms, how much blocks, how much is left."""

from dataclasses import dataclass

import numpy as np

FLOOR = 0.01
"""Least share of the within-arm variance that stays residual: a few blocks that agree by chance prove nothing."""
ARM_FLOOR = 0.05
"""Least variance between arms, in units of the residual: a prior must not be surer than its evidence."""
TINY = 1e-12
"""Least residual variance, in squared units of reward (SD_FLOOR squared): keeps equal rewards from dividing by zero."""


@dataclass(frozen=True)
class Components:
    """Variances of the model reward(arm, block) = arm + block + residual, each (W,)."""

    arm: np.ndarray
    block: np.ndarray
    residual: np.ndarray

    @property
    def rho(self) -> np.ndarray:
        """(W,) correlation of two arms on common blocks; pairing divides the blocks needed by 1 / (1 - rho)."""
        return self.block / (self.block + self.residual)


def components(values: np.ndarray, met: np.ndarray) -> Components:
    """Estimate the components of rewards on any blocks: see `from_pairs`.

    Args:
        values: (W, K, B) rewards, 0 where not met.
        met: (W, K, B) 1.0 where met, else 0.0.
    """
    n = met.sum(axis=2)
    centre = values.sum(axis=(1, 2)) / np.maximum(n.sum(axis=1), 1)
    y = met * (values - centre[:, None, None])
    sums = y @ met.transpose(0, 2, 1)
    squares = (met.sum(axis=1) * (y * y).sum(axis=1) - y.sum(axis=1) ** 2).sum(axis=1)
    return from_pairs(_within(y, n), met @ met.transpose(0, 2, 1), sums - sums.transpose(0, 2, 1), squares)


def from_pairs(within: np.ndarray, common: np.ndarray, gaps: np.ndarray, squares: np.ndarray) -> Components:
    """Estimate the components by two-way analysis of variance (Searle, Casella & McCulloch 1992, chapter 4).

    Every pair of arms is compared on its common blocks: the spread of the differences within pairs is twice the
    residual, what the squared mean differences hold beyond that is twice the arms' variance, and what the within-arm
    spread holds beyond the residual is the blocks'. On a complete table these are the classical mean squares; gaps, and
    arms that met fewer blocks, are allowed. Without two common blocks anywhere, all spread counts as residual.

    Args:
        within: (W,) pooled within-arm variance.
        common: how many blocks two arms have in common; broadcasts to (W, K, K), of which what is above the diagonal
            counts.
        gaps: (W, K, K) sum of their differences on these.
        squares: (W,) sum of the squared differences of all pairs on their common blocks.
    """
    pairs = np.triu(np.broadcast_to(common > 0, gaps.shape), k=1)
    shared = np.where(pairs, common, 1.0)
    difference = pairs * gaps / shared
    freedom = (pairs * (shared - 1)).sum(axis=(1, 2))
    spread = squares - (shared * difference**2).sum(axis=(1, 2))
    residual = np.where(freedom > 0, np.maximum(spread / np.maximum(2 * freedom, 1), FLOOR * within), within)
    residual = np.maximum(residual, TINY)
    excess = (difference**2 - pairs * (2 * residual[:, None, None] / shared)).sum(axis=(1, 2))
    arm = np.maximum(excess / np.maximum(2 * pairs.sum(axis=(1, 2)), 1), ARM_FLOOR * residual)
    return Components(arm=arm, block=np.maximum(within - residual, 0.0), residual=residual)


def _within(y: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the (W,) pooled within-arm variance; around the common mean while no arm has two rewards."""
    freedom = np.maximum(n - 1, 0).sum(axis=1)
    squares = (y * y).sum(axis=2)
    around_arm = (squares - y.sum(axis=2) ** 2 / np.maximum(n, 1)).sum(axis=1)
    around_all = squares.sum(axis=1) / np.maximum(n.sum(axis=1) - 1, 1)
    return np.where(freedom > 0, around_arm / np.maximum(freedom, 1), around_all)

"""Paired comparisons of one arm with all others on their common blocks, and bounds that hold at any time."""

from dataclasses import dataclass

import numpy as np

from bandit.statistics import SD_FLOOR

PRIOR = 1.0
"""Blocks that the prior of the t-mixture is worth: it expects differences near one standard deviation."""


@dataclass(frozen=True)
class Differences:
    """Differences k - arm on common blocks, each (W, K): their number, mean, and sum of squares about the mean."""

    n: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    def sd(self, fallback: np.ndarray) -> np.ndarray:
        """Return the (W, K) sample sd, at least SD_FLOOR; with fewer than two blocks the `fallback` (W,)."""
        sample = np.sqrt(self.squares / np.maximum(self.n - 1, 1))
        return np.maximum(np.where(self.n > 1, sample, fallback[:, None]), SD_FLOOR)


def half_width(differences: Differences, alpha: np.ndarray) -> np.ndarray:
    """Return the (W, K) half-width of a confidence sequence for a mean of differences, +inf while it has no bound.

    Inverts the t-mixture of Lai (1976), as in Wang & Ramdas (2024, "Anytime-valid t-tests and confidence sequences for
    Gaussian means with unknown variance"): with S the sum and V the sum of squares of n differences, and r = PRIOR,
    E_n = sqrt(r / (n + r)) (1 - S^2 / ((n + r) V))^(-n / 2) is a test martingale whatever the variance. So the interval
    covers at all times at once with probability 1 - alpha, and may be looked at after every block.

    Args:
        differences: from `View.against`.
        alpha: error rates that broadcast to (W, K).
    """
    n, square = differences.n, np.maximum(differences.squares, 0.0)
    count = np.maximum(n, 1)
    share = 1 - (alpha**2 * PRIOR / (count + PRIOR)) ** (1 / count)
    room = count - share * (count + PRIOR)
    width = np.sqrt(share * (count + PRIOR) * square / (count * np.maximum(room, 1e-300)))
    return np.where((n > 1) & (room > 0), np.maximum(width, SD_FLOOR), np.inf)

"""Confidence intervals over prompts: the unit of replication is the prompt, with its seeds averaged first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 2000
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """As the card shows it."""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def plain(self) -> list[float]:
        """For JSON: value, low, high."""
        return [round(self.value, 4), round(self.low, 4), round(self.high, 4)]


def bootstrap(
    per_prompt: Values, statistic: Callable[[Values], float] = lambda values: float(np.mean(values))
) -> Estimate:
    """Percentile bootstrap.

    Args:
        per_prompt: One row per prompt, shape (prompts,) or (prompts, k).
        statistic: What to compute on the (resampled) rows.
    """
    rng = np.random.default_rng(0)
    count = len(per_prompt)
    draws = [statistic(per_prompt[rng.integers(count, size=count)]) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(statistic(per_prompt), float(low), float(high))


def effect_size(differences: Values) -> float:
    """dz: the mean difference over the standard deviation of differences (Cohen, paired)."""
    return float(np.mean(differences) / np.std(differences, ddof=1))


def rank_correlation(first: Values, second: Values) -> float:
    """Spearman's rank correlation of two vectors, without correction for ties."""
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

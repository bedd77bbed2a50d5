"""Statistics of a comparison: intervals, tests and medians over replicates. Pure."""

import itertools
import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from core.records import Estimate
from core.seeding import generator

Replicates = Sequence[Sequence[float]]
"""Values by replicate and prompt, seeds averaged within a prompt; replicates may have different numbers of prompts."""
_EXACT = 14
"""Most replicates whose sign patterns are all enumerated (2^14)."""
_PATTERNS = 20_000
_CELLS = 4_000_000
"""Most signs drawn at once, so that memory stays near 64 MB whatever the number of values."""


def nested_bootstrap(values: Replicates, *, draws: int = 10_000, seed: int) -> Estimate:
    """Return the mean over replicates with a percentile 95 % interval of a two-level bootstrap.

    Replicates are drawn with replacement, then prompts within each one drawn (Davison & Hinkley 1997, section 3.8,
    strategy 1). The unit of replication is the replicate (`n`); resampling prompts as well widens the interval a
    little, which with ten replicates makes up for what the percentile method lacks. With one replicate only its prompts
    are resampled.

    Raises:
        ValueError: no replicate, or one without values.
    """
    if not values or not all(len(row) for row in values):
        raise ValueError(f"{len(values)} replicates, some perhaps empty; expected at least one, each with values")
    rng, count = generator("compare", seed), len(values)
    rows = [np.asarray(row, dtype=np.float64) for row in values]
    totals = np.zeros(draws)
    for _ in range(count):
        chosen = rng.integers(count, size=draws) if count > 1 else np.zeros(draws, dtype=np.int64)
        for index, row in enumerate(rows):
            mine = np.flatnonzero(chosen == index)
            totals[mine] += row[rng.integers(len(row), size=(len(mine), len(row)))].mean(axis=1)
    lower, upper = np.percentile(totals / count, [2.5, 97.5])
    return Estimate(fmean(fmean(row) for row in values), (float(lower), float(upper)), count)


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p-value of a paired permutation test: under no difference each replicate's sign is a coin.

    Exact for up to 14 replicates, else 20,000 random patterns (the observed one counted). With n replicates it is at
    least 2 / 2^n.
    """
    values = np.asarray(differences, dtype=np.float64)
    observed = abs(values.sum()) - 1e-12 * max(1.0, float(np.abs(values).sum()))
    if len(values) <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
        return float((np.abs(signs @ values) >= observed).mean())
    rng, step, reached = generator("sign-flip", seed), max(1, _CELLS // len(values)), 1
    for start in range(0, _PATTERNS, step):
        signs = rng.choice([1.0, -1.0], size=(min(step, _PATTERNS - start), len(values)))
        reached += int((np.abs(signs @ values) >= observed).sum())
    return reached / (1 + _PATTERNS)


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values (1979): they keep the chance of any false difference at the level."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = worst
    return adjusted


def censored_median(values: Sequence[tuple[float, bool]]) -> tuple[float, bool]:
    """Return the median of (value, is a lower bound), and whether the median is itself only a lower bound.

    A lower bound may stand for any larger value, so those come last.
    """
    ordered = sorted(values, key=lambda value: (math.inf if value[1] else value[0], value[0]))
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    return fmean(value for value, _ in middle), any(bound for _, bound in middle)


def renders_to(curve: Sequence[tuple[float, float]], target: float, spent: float) -> tuple[float, bool]:
    """Return the renders after which a curve (renders, gain) first reaches the target, or (spent, True) if never."""
    reached = [renders for renders, gain in curve if gain >= target]
    return (min(reached), False) if reached else (spent, True)

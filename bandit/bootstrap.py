"""Confidence intervals over prompts: the prompt, not the picture, is the unit of replication."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bandit.statistics import mean
from core.records import Estimate
from core.seeding import generator

_CELLS = 1_000_000
"""Most prompt indices drawn at once, so that memory stays near 16 MB whatever the number of prompts."""


def bootstrap_mean(values_by_prompt: Mapping[str, Sequence[float]], *, draws: int = 10_000, seed: int) -> Estimate:
    """Return the mean over prompts with its percentile 95 % interval (Efron & Tibshirani 1993, section 13.3).

    A prompt's values (one per seed) are averaged first; then prompts are resampled with replacement. Prompts
    without values (all failed) are left out. A function of its arguments alone; the order of prompts and of their
    values does not matter. With a single prompt the interval is degenerate, (mean, mean): one unit says nothing
    about spread, which is what `n` is there for.

    Args:
        values_by_prompt: values by prompt id, for instance paired differences per seed.
        draws: number of bootstrap samples.
        seed: seeds the resampling.

    Raises:
        ValueError: no prompt has a value, a value is not finite, or draws < 1.
    """
    centres = [
        mean(map(float, values_by_prompt[prompt]))
        for prompt in sorted(values_by_prompt)
        if len(values_by_prompt[prompt])
    ]
    if not centres or draws < 1:
        raise ValueError(f"{len(centres)} prompts with values and {draws} draws; expected at least one of each")
    if not all(map(math.isfinite, centres)):
        raise ValueError("a value is not finite; leave failed results out")
    centre, n = mean(centres), len(centres)
    if n == 1:
        return Estimate(centre, (centre, centre), 1)
    rng, sample = generator("bootstrap", seed), np.asarray(centres, dtype=np.float64)
    resampled = np.empty(draws)
    step = max(1, _CELLS // n)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        resampled[start : start + size] = sample[rng.integers(n, size=(size, n))].mean(axis=1)
    lower, upper = np.percentile(resampled, [2.5, 97.5])
    return Estimate(centre, (float(lower), float(upper)), n)

"""Where the variance of a number comes from, and how much of it common seeds take away; and a distance of two sets."""

from __future__ import annotations

import numpy as np

from miniworld.train.bootstrap import Estimate, bootstrap
from miniworld.train.measure import Values

COMPONENTS = ("prompt", "instruction", "prompt x instruction", "seed", "seed x instruction")


def variance_shares(values: Values) -> dict[str, float]:
    """Shares of the variance components, by the method of moments with negative estimates set to 0.

    The model has crossed prompts and instructions, and seeds nested in prompts and common to instructions. What common
    seeds cancel in a difference of two instructions is ``prompt`` and ``seed``; what they leave is the rest.

    Args:
        values: Shape (prompts, instructions, seeds).

    Returns:
        The shares by ``COMPONENTS``; they sum to 1.
    """
    prompts, instructions, seeds = values.shape
    grand = values.mean()
    by_prompt = values.mean(axis=(1, 2)) - grand
    by_instruction = values.mean(axis=(0, 2)) - grand
    by_cell = values.mean(axis=2) - grand - by_prompt[:, None] - by_instruction[None]
    by_seed = values.mean(axis=1) - grand - by_prompt[:, None]
    rest = values - grand - by_prompt[:, None, None] - by_instruction[None, :, None] - by_cell[:, :, None]
    rest = rest - by_seed[:, None, :]
    mean_squares = {
        "prompt": instructions * seeds * (by_prompt**2).sum() / (prompts - 1),
        "instruction": prompts * seeds * (by_instruction**2).sum() / (instructions - 1),
        "cell": seeds * (by_cell**2).sum() / ((prompts - 1) * (instructions - 1)),
        "seed": instructions * (by_seed**2).sum() / (prompts * (seeds - 1)),
        "rest": (rest**2).sum() / (prompts * (instructions - 1) * (seeds - 1)),
    }
    error, cell, seed = mean_squares["rest"], mean_squares["cell"], mean_squares["seed"]
    components = {
        "prompt": (mean_squares["prompt"] - cell - seed + error) / (instructions * seeds),
        "instruction": (mean_squares["instruction"] - cell) / (prompts * seeds),
        "prompt x instruction": (cell - error) / seeds,
        "seed": (seed - error) / instructions,
        "seed x instruction": error,
    }
    positive = {name: max(0.0, float(value)) for name, value in components.items()}
    total = sum(positive.values())
    return {name: value / total for name, value in positive.items()}


def common_seed_ratio(first: Values, second: Values) -> Estimate:
    """Variance of a difference with common seeds over its variance with independent ones, within prompts.

    Args:
        first: Values of one condition, shape (prompts, seeds).
        second: Those of another, with the same seeds.
    """
    common = (second - first).var(axis=1, ddof=1)
    independent = first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)
    return bootstrap(np.stack([common, independent], axis=1), lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))


def frechet_distance(first: Values, second: Values) -> float:
    """Squared Frechet distance of two normal distributions fitted to features (Heusel et al. 2017, equation 6).

    Args:
        first: Features of one set, shape (n, d).
        second: Features of the other, shape (m, d).
    """
    means = first.mean(axis=0) - second.mean(axis=0)
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    roots = np.sqrt(np.clip(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0, None))
    return float(means @ means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots.sum())

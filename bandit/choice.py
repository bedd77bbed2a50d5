"""How every policy picks: the best index, ties at random, whatever the order of the table."""

import math
from collections.abc import Mapping

import numpy as np


def pick(arms: list[str], rng: np.random.Generator) -> str:
    """Return one of the arms, each equally likely; the order in which they come does not matter."""
    return sorted(arms)[int(rng.integers(len(arms)))]


def best(index: Mapping[str, float], rng: np.random.Generator) -> str:
    """Return an arm of the highest index (+inf allowed), ties broken at random.

    Raises:
        ValueError: there is no arm, or an index is NaN.
    """
    if not index:
        raise ValueError("no arm to choose from; add one to the pool first")
    if any(math.isnan(value) for value in index.values()):
        raise ValueError("an arm's index is NaN; rewards must be finite")
    top = max(index.values())
    return pick([arm for arm, value in index.items() if value == top], rng)

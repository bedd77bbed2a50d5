"""Means, spread and confidence bounds of arms. Sums are exact (`math.fsum`): the order of facts never shows."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.interfaces import Table

SD_FLOOR = 1e-6
"""Least scale, in units of reward: far below any real gap, so equal rewards leave a bonus that only breaks ties."""


@dataclass(frozen=True)
class ArmStatistics:
    """An arm's number of observed blocks and its mean reward (None without any)."""

    n: int
    mean: float | None


@dataclass(frozen=True)
class Difference:
    """Mean and sample sd of a paired difference over `n` common blocks; sd is None for n = 1."""

    mean: float
    sd: float | None
    n: int


def mean(values: Iterable[float]) -> float:
    """Return the mean of at least one value, independent of their order."""
    items = list(values)
    return math.fsum(items) / len(items)


def arm_statistics(table: Table) -> dict[str, ArmStatistics]:
    """Return n and mean of every arm."""
    return {arm: ArmStatistics(len(row), mean(row.values()) if row else None) for arm, row in table.items()}


def means(table: Table) -> dict[str, float]:
    """Return the mean of every arm; +inf for one without results, which is why such an arm is always pulled first."""
    return {arm: mean(row.values()) if row else math.inf for arm, row in table.items()}


def pooled_sd(table: Table) -> float:
    """Return the pooled within-arm standard deviation, at least SD_FLOOR.

    While no arm has two observations, the sd of all observations around their common mean stands in: it also holds
    the differences between arms, so it errs towards exploring. With fewer than two observations in all it is 1.
    """
    rows = [list(row.values()) for row in table.values() if row]
    freedom = sum(len(row) - 1 for row in rows)
    if freedom == 0:
        rows = [[value for row in rows for value in row]]
        freedom = len(rows[0]) - 1
    if freedom < 1:
        return 1.0
    centres = [mean(row) for row in rows]
    squares = math.fsum((value - centre) ** 2 for row, centre in zip(rows, centres, strict=True) for value in row)
    return max(SD_FLOOR, math.sqrt(squares / freedom))


def scale(table: Table, reward_scale: str) -> float:
    """Return the number behind a `reward_scale`: see PolicySettings.

    Raises:
        ValueError: unknown `reward_scale`.
    """
    if reward_scale == "none":
        return 1.0
    if reward_scale == "pooled-sd":
        return pooled_sd(table)
    raise ValueError(f"reward_scale is {reward_scale!r}; expected pooled-sd or none")


def bounds(table: Table, c: float, scale: float) -> dict[str, tuple[float, float]]:
    """Return (lower, upper) of every arm: mean -+ c * scale * sqrt(2 ln t / n) (Auer, Cesa-Bianchi & Fischer 2002).

    `n` counts the arm's observed blocks, `t` those of all arms in the table. An arm without results has
    (-inf, +inf). At t = 1 the width is 0, as ln 1 is.
    """
    total = sum(len(row) for row in table.values())
    result = {}
    for arm, row in table.items():
        if not row:
            result[arm] = (-math.inf, math.inf)
            continue
        centre = mean(row.values())
        width = c * scale * math.sqrt(2.0 * math.log(total) / len(row))
        result[arm] = (centre - width, centre + width)
    return result


def pairwise(first: Mapping[str, float], second: Mapping[str, float]) -> Difference:
    """Return the paired difference first - second over the blocks that both arms have met.

    Raises:
        ValueError: the arms share no block.
    """
    differences = [first[block] - second[block] for block in first if block in second]
    if not differences:
        raise ValueError("the two arms have no block in common; pull both on one batch first")
    centre = mean(differences)
    if len(differences) == 1:
        return Difference(centre, None, 1)
    variance = math.fsum((value - centre) ** 2 for value in differences) / (len(differences) - 1)
    return Difference(centre, math.sqrt(variance), len(differences))

"""Mean ranks over replicates, and which levels cannot be told apart: a critical-difference view."""

from collections.abc import Mapping, Sequence

from reports.records import PairLine, Ranking

LEVEL = 0.05
"""A pair differs when its adjusted p-value is below this."""
FEWEST = 2
"""Rows (replicates or prompts) that ranks are averaged over at least."""


def ranking(rows: Sequence[Mapping[str, float]], pairs: Sequence[PairLine], *, unit: str, test: str) -> Ranking | None:
    """Return the view; None with fewer than two rows or levels.

    Bars join levels that the page's own pairwise tests cannot tell apart, not those within Nemenyi's distance: that
    one depends on which other levels happen to be compared (Benavoli, Corani & Mangili 2016, JMLR 17(5)).

    Args:
        rows: values by level, higher is better; one row a replicate or prompt, all with the same levels.
        pairs: the tests, with adjusted p-values.
        unit: what a row is, in the plural.
        test: which test, in words.
    """
    if len(rows) < FEWEST or len(rows[0]) < 2:
        return None
    positions = mean_ranks(rows)
    order = sorted(positions, key=lambda level: (positions[level], level))
    method = f"Position: mean rank over {len(rows)} {unit}. Told apart: {test}, adjusted p below {LEVEL:g}."
    return Ranking(positions, groups(order, pairs), method)


def mean_ranks(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean rank of each level, 1 for the highest value; equal values share their ranks' mean."""
    totals = dict.fromkeys(rows[0], 0.0)
    for row in rows:
        for level, value in row.items():
            above = sum(other > value for other in row.values())
            equal = sum(other == value for other in row.values())
            totals[level] += above + (equal + 1) / 2
    return {level: total / len(rows) for level, total in totals.items()}


def groups(order: Sequence[str], pairs: Sequence[PairLine]) -> tuple[tuple[str, ...], ...]:
    """Return the longest stretches of the order in which no pair differs; stretches of one are left out."""
    differ = {frozenset((pair.a, pair.b)) for pair in pairs if pair.p is not None and pair.p < LEVEL}
    found: list[tuple[str, ...]] = []
    reach = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and all(frozenset((order[end], other)) not in differ for other in order[start:end]):
            end += 1
        if end - start > 1 and end > reach:
            found.append(tuple(order[start:end]))
        reach = max(reach, end)
    return tuple(found)

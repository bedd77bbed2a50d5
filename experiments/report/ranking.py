"""What the page of a comparison says beside its tables: ranks and what can be told apart, the verdict, mean curves."""

from collections.abc import Mapping, Sequence

from bandit.bootstrap import bootstrap_mean
from core.records import Estimate
from reports.records import ComparisonTable, CurvePoint, PairLine, Ranking, Verdict

LEVEL = 0.05
"""A pair differs when its adjusted p-value is below this."""
FEWEST = 2
"""Rows (replicates or prompts) that ranks are averaged over at least."""

GRID = 60
"""Most points of a curve with a band."""

Steps = Sequence[tuple[float, float]]
"""A run's curve: from so many pictures on, that value."""


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


def comparison_verdict(table: ComparisonTable, scale: float) -> Verdict:
    """Say which level found the best instructions, no more than the pairwise tests allow."""
    known = [level for level in table.levels if level.gain is not None]
    if not known:
        return Verdict("no verdict yet: nothing has been tested", tone="unfinished")
    best = max(known, key=lambda level: level.gain.mean)  # type: ignore[union-attr]
    gain: Estimate = best.gain  # type: ignore[assignment]
    half = scale * (gain.ci95[1] - gain.ci95[0]) / 2
    text = f"highest gain: {best.name}, {scale * gain.mean:+.2f} ± {half:.2f} over your prompts"
    doubt = () if gain.ci95[0] > 0 else ("its interval holds 0: not even this one is shown to beat your prompts",)
    against = [pair for pair in table.pairs if best.name in (pair.a, pair.b)]
    equal = [pair.b if pair.a == best.name else pair.a for pair in against if pair.p is None or pair.p >= LEVEL]
    if len(against) < len(table.levels) - 1:
        return Verdict(text, (*doubt, "not every pair could be tested"), "unclear")
    if equal:
        return Verdict(text, (*doubt, f"it cannot be told apart from {', '.join(equal)}"), "unclear")
    return Verdict(
        text, (*doubt, f"it can be told apart from every other {table.unit}"), "unclear" if doubt else "better"
    )


def mean_curve(runs: Sequence[Steps]) -> tuple[CurvePoint, ...]:
    """Return the mean over runs of their curves, from where all have begun; each keeps its last value.

    The band is a bootstrap interval over runs.
    """
    if not runs or not all(runs):
        return ()
    start = max(steps[0][0] for steps in runs)
    xs = sorted({x for steps in runs for x, _ in steps if x >= start} | {start})
    points = []
    for x in dict.fromkeys(xs[:: max(1, len(xs) // GRID)] + xs[-1:]):
        values = {str(run): [[value for at, value in steps if at <= x][-1]] for run, steps in enumerate(runs)}
        found = bootstrap_mean(values, seed=0, draws=2000)
        points.append(CurvePoint(x, found.mean, *found.ci95))
    return tuple(points)

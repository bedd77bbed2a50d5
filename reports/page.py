"""Fills the templates. Every value is escaped by Jinja2; the charts alone are markup, which matplotlib made."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from core.records import Estimate
from reports.charts import Bar, critical_difference, forest, level_curves, rounds
from reports.records import ArmReport, ComparisonReport, ComparisonTable, RunReport
from reports.words import added_words, changed_sentences

MOST_ARMS = 40
"""Arms in the forest plot; the family tree has them all."""
DEEPEST = 40
"""Generations that the family tree nests."""


def run_page(report: RunReport) -> str:
    """Return a run's page."""
    return _page("run.html.j2", report=report, charts=_run_charts(report), tree=family(report.arms))


def comparison_page(report: ComparisonReport) -> str:
    """Return a comparison's page."""
    tables = [(table, _table_charts(table, report.scale)) for table in report.tables]
    return _page("comparison.html.j2", report=report, tables=tables)


def family(arms: Sequence[ArmReport]) -> list[dict[str, Any]]:
    """Return the family trees of instructions.

    Deeper descendants than DEEPEST stand beside their parents. A node has its `arm`, the `sentences` changed from its
    parent, and `edges`: each a textual gradient with the nodes that were born of it.

    Args:
        arms: parents before their children.
    """
    known = {arm.id: arm for arm in arms}
    depth: dict[str, int] = {}
    above: dict[str, str] = {}
    children: dict[str, list[ArmReport]] = {}
    for arm in arms:
        parent = arm.parent if arm.parent in depth else ""
        if parent and depth[parent] >= DEEPEST:
            parent = above[parent]
        above[arm.id], depth[arm.id] = parent, depth[parent] + 1 if parent else 0
        children.setdefault(parent, []).append(arm)

    def node(arm: ArmReport) -> dict[str, Any]:
        born = groupby(children.get(arm.id, ()), key=lambda child: child.gradient)
        edges = [(gradient, [node(child) for child in group]) for gradient, group in born]
        return {"arm": arm, "sentences": _changes(arm, known.get(arm.parent)), "edges": edges}

    return [node(arm) for arm in children.get("", ())]


def _changes(arm: ArmReport, parent: ArmReport | None) -> list[tuple[str, str]]:
    return changed_sentences(parent.text if parent else arm.text, arm.text)


def _run_charts(report: RunReport) -> dict[str, Markup | None]:
    scale, axis = report.scale, "reward over your prompts" + times(report.scale)
    charts: dict[str, Markup | None] = dict.fromkeys(("rounds", "arms", "groups"))
    if report.rounds:
        fresh = {"validation": report.validation, "test": report.test[0].lead if report.test else None}
        later = {label: estimate for label, estimate in fresh.items() if estimate is not None}
        last = report.rounds[-1]
        told = f"After round {last.round} the leader is {last.leader} at {number(last.lead.mean, scale, sign=True)}."
        charts["rounds"] = rounds("rounds", report.rounds, later, scale=scale, axis=axis, description=told)
    pulled = sorted((arm for arm in report.arms if arm.reward), key=lambda arm: -_mean(arm.reward))[:MOST_ARMS]
    if pulled:
        bars = [
            Bar(f"{arm.id} · {arm.pulls} pull{'' if arm.pulls == 1 else 's'}", arm.reward, arm.best) for arm in pulled
        ]
        told = f"Mean reward of {len(bars)} instructions with 95 % intervals; the table beside it has the numbers."
        charts["arms"] = forest("arms", bars, scale=scale, axis=axis, description=told)
    if report.groups:
        bars = [Bar(f"{line.label} ({line.gain.n})", line.gain) for line in report.groups]
        told = "Gain over your prompts by group, with 95 % intervals."
        charts["groups"] = forest("groups", bars, scale=scale, axis="gain" + times(scale), description=told)
    return charts


def _table_charts(table: ComparisonTable, scale: int) -> dict[str, Markup | None]:
    charts: dict[str, Markup | None] = dict.fromkeys(("gains", "ranking", "curves"))
    name = table.unit.replace(" ", "-")
    known = [level for level in table.levels if level.gain is not None]
    if known:
        best = max(known, key=lambda level: _mean(level.gain)).name
        bars = [Bar(level.name, level.gain, level.name == best) for level in known]
        told = f"Held-out gain by {table.unit}, with 95 % intervals; {best} has the highest mean."
        axis = "gain on unseen prompts" + times(scale)
        charts["gains"] = forest(f"{name}-gains", bars, scale=scale, axis=axis, description=told)
    if table.curves:
        told = f"Gain over pictures, by {table.unit}."
        axis = "gain" + times(scale)
        charts["curves"] = level_curves(f"{name}-curves", table.curves, scale=scale, axis=axis, description=told)
    if table.ranking:
        positions = table.ranking.positions
        told = "Mean ranks: " + ", ".join(
            f"{level} {positions[level]:.2f}" for level in sorted(positions, key=positions.__getitem__)
        )
        charts["ranking"] = critical_difference(f"{name}-ranking", table.ranking, description=told)
    return charts


def _mean(estimate: Estimate | None) -> float:
    return estimate.mean if estimate else float("-inf")


# --- what the templates say numbers with


def times(scale: float) -> str:
    """Return how a scaled number's axis is marked."""
    return "" if scale == 1 else f" × {scale:g}"


def number(value: float | None, scale: float = 1, *, sign: bool = False, digits: int = 2) -> str:
    """Return a number for a person; None is a dash."""
    if value is None:
        return "–"
    return f"{scale * value:{'+' if sign else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, scale: float = 1) -> str:
    """Return a number with its sign."""
    return number(value, scale, sign=True)


def interval(estimate: Estimate | None, scale: float = 1) -> str:
    """Return a 95 % interval as text."""
    if estimate is None:
        return "–"
    low, high = (number(bound, scale, sign=True) for bound in estimate.ci95)
    return f"[{low}, {high}]"


def clear(estimate: Estimate) -> str:
    """Say what an interval allows: `ahead`, `behind`, or `not clear of zero`."""
    low, high = estimate.ci95
    if estimate.n < 2 or low <= 0 <= high:
        return "not clear of zero"
    return "ahead" if low > 0 else "behind"


def plural(count: int, word: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Iterable[Any] = (number, signed, interval, clear, plural, times)
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals |= {"added_words": added_words}
    return environment


def _page(template: str, **values: Any) -> str:
    style = Markup(files("reports").joinpath("templates/style.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    context: Mapping[str, Any] = {**values, "style": style}
    html = _environment().get_template(template).render(context)
    return html.encode("utf-8", "replace").decode("utf-8")  # JSON may bring lone surrogates, which no file can hold

"""The charts of a page, drawn with matplotlib at a width that is legible on a phone and on a desk."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from core.records import Estimate
from reports.records import CurvePoint, Ranking, RoundPoint
from reports.svg import RC, Ink, inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 400
"""Width in the units of the SVG: a pixel each at 400 pixels; the page shows charts at 340 to 520."""
_LABEL = 26
"""Most characters of a label."""


@dataclass(frozen=True)
class Bar:
    """A line of a forest plot; without an estimate it stands empty. `strong` is drawn as the one that matters."""

    label: str
    estimate: Estimate | None
    strong: bool = False


def forest(name: str, bars: Sequence[Bar], *, scale: float, axis: str, description: str) -> Markup:
    """Draw estimates with their 95 % intervals in rows, first on top, with a line at 0."""
    with _chart(name, 46 + 22 * len(bars), description) as (axes, finish):
        axes.axvline(0, color=Ink.TEXT, linewidth=1)
        for row, bar in enumerate(bars):
            if bar.estimate is None:
                continue
            colour = Ink.GOOD if bar.strong else Ink.MUTED
            mean, (low, high) = bar.estimate.mean * scale, bar.estimate.ci95
            axes.plot([low * scale, high * scale], [row, row], color=colour, linewidth=3 if bar.strong else 2)
            axes.plot([mean], [row], marker="D" if bar.strong else "o", markersize=6.5, color=colour)
        axes.set_yticks(range(len(bars)), [_short(bar.label) for bar in bars])
        for label, bar in zip(axes.get_yticklabels(), bars, strict=True):
            label.set(color=Ink.GOOD if bar.strong else Ink.TEXT, fontweight="bold" if bar.strong else "normal")
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(axis)
        return finish()


def rounds(
    name: str,
    points: Sequence[RoundPoint],
    later: Mapping[str, Estimate],
    *,
    scale: float,
    axis: str,
    description: str,
) -> Markup:
    """Draw the loop by round: the leader so far and the mean of the round's pulls; beside it what was measured later.

    Args:
        name: of the chart.
        points: one a round.
        later: estimates on fresh prompts by label, drawn right of the last round.
        scale: factor of the numbers shown.
        axis: label of the y axis.
        description: for those who cannot see it.
    """
    with _chart(name, 270, description) as (axes, finish):
        places = [point.round for point in points]
        for estimates, colour, marker, label, shift in (
            ([p.pulls for p in points], Ink.MUTED, "o", "pulls of the round", 0.06),
            ([p.lead for p in points], Ink.GOOD, "D", "leader so far", -0.06),
        ):
            xs = [place + shift for place in places]
            axes.plot(xs, [e.mean * scale for e in estimates], color=colour, marker=marker, markersize=6, label=label)
            _whiskers(axes, xs, estimates, scale, colour)
        names = [point.leader for point in points]
        for place, point in enumerate(points):
            if place == 0 or names[place] != names[place - 1]:
                at = (places[place] - 0.06, point.lead.ci95[1] * scale)
                offset: dict[str, Any] = {
                    "textcoords": "offset points",
                    "ha": "center",
                    "fontsize": 10,
                    "color": Ink.GOOD,
                }
                axes.annotate(_short(point.leader), at, xytext=(0, 4), **offset)
        for place, (_, estimate) in enumerate(later.items(), start=1):
            x = places[-1] + place
            _whiskers(axes, [x], [estimate], scale, Ink.TEXT)
            axes.plot([x], [estimate.mean * scale], marker="s", markersize=6, color=Ink.TEXT, linestyle="none")
        axes.axhline(0, color=Ink.TEXT, linewidth=1)
        axes.set_xticks(*_round_ticks(places, list(later)))
        axes.set_xlim(places[0] - 0.4, places[-1] + len(later) + 0.4)
        axes.margins(y=0.12)
        axes.set_xlabel("round" + (", then fresh prompts" if later else ""))
        axes.set_ylabel(axis)
        _legend(axes)
        return finish()


def _round_ticks(places: Sequence[int], later: Sequence[str]) -> tuple[list[int], list[str]]:
    step = math.ceil(len(places) / 8)
    shown = list(places[::step])
    return shown + [places[-1] + k for k in range(1, len(later) + 1)], [*map(str, shown), *later]


def level_curves(
    name: str, curves: Mapping[str, Sequence[CurvePoint]], *, scale: float, axis: str, description: str
) -> Markup:
    """Draw each level's curve over pictures, in steps: between two points nothing was learnt. With bands, if any."""
    with _chart(name, 300, description) as (axes, finish):
        styles = ("-", "--", ":", "-.")
        for place, (level, points) in enumerate(curves.items()):
            colour, xs = Ink.series(place), [point.x for point in points]
            axes.plot(
                xs,
                [point.mean * scale for point in points],
                color=colour,
                linestyle=styles[place % len(styles)],
                drawstyle="steps-post",
                label=_short(level),
            )
            low, high = [p.low * scale for p in points], [p.high * scale for p in points]
            if low != high:
                axes.fill_between(
                    xs, low, high, step="post", color=colour, alpha=min(0.14, 0.5 / len(curves)), linewidth=0
                )
        axes.axhline(0, color=Ink.TEXT, linewidth=1)
        axes.set_xlabel("pictures")
        axes.set_ylabel(axis)
        _legend(axes)
        return finish()


def critical_difference(name: str, ranking: Ranking, *, description: str) -> Markup:
    """Draw levels in rows at their positions, best on top; bars join those that cannot be told apart."""
    order = sorted(ranking.positions, key=lambda level: (ranking.positions[level], level))
    joined = [group for group in ranking.groups if len(group) > 1]
    with _chart(name, 56 + 24 * len(order), description) as (axes, finish):
        alone = len(order) > 1 and ranking.positions[order[0]] < ranking.positions[order[1]]
        for row, level in enumerate(order):
            at, first = ranking.positions[level], alone and row == 0
            axes.plot([1, at], [row, row], color=Ink.LINE, linewidth=1, zorder=1)
            axes.plot([at], [row], marker="D" if first else "o", color=Ink.GOOD if first else Ink.MUTED, zorder=3)
            text: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 10.5, "color": Ink.MUTED}
            axes.annotate(f"{at:.2f}", (at, row), xytext=(8, 0), **text)
        for place, group in enumerate(joined):
            rows = [order.index(level) for level in group]
            x = 1.06 + 0.05 * place
            line: dict[str, Any] = {
                "transform": axes.get_yaxis_transform(),
                "clip_on": False,
                "solid_capstyle": "round",
            }
            axes.plot([x, x], [min(rows) - 0.2, max(rows) + 0.2], color=Ink.TEXT, linewidth=4, **line)
        axes.set_yticks(range(len(order)), [_short(level) for level in order])
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0.8, len(order) + 0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("mean rank (1 is best)")
        return finish()


@contextmanager
def _chart(name: str, height: int, description: str) -> Iterator[tuple["Axes", Callable[[], Markup]]]:
    """Yield axes in the page's style, and what turns them into SVG when they are drawn."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**RC, **_STYLE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has the glyphs, not matplotlib
        figure: Figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
        yield axes, lambda: inline(figure, name, description)


_STYLE: dict[Any, Any] = {
    "font.size": 11.5,
    "axes.labelsize": 11.5,
    "axes.labelcolor": Ink.MUTED,
    "axes.edgecolor": Ink.LINE,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "grid.color": Ink.LINE,
    "grid.linewidth": 0.8,
    "xtick.color": Ink.LINE,
    "xtick.labelcolor": Ink.MUTED,
    "ytick.color": Ink.LINE,
    "ytick.labelcolor": Ink.MUTED,
    "ytick.left": False,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "legend.labelcolor": Ink.TEXT,
    "text.color": Ink.TEXT,
}


def _whiskers(axes: "Axes", xs: Sequence[float], estimates: Sequence[Estimate], scale: float, colour: str) -> None:
    for x, estimate in zip(xs, estimates, strict=True):
        axes.plot([x, x], [bound * scale for bound in estimate.ci95], color=colour, linewidth=1.4, alpha=0.8)


def _legend(axes: "Axes") -> None:
    """Put the legend above the plot, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if len(labels) > 3 or max(map(len, labels)) > 9 else len(labels)
    place: dict[str, Any] = {
        "loc": "lower left",
        "bbox_to_anchor": (0, 1.0),
        "borderaxespad": 0.2,
        "columnspacing": 1.4,
    }
    axes.legend(handles, labels, ncols=columns, handlelength=2.2, **place)


def _short(label: str) -> str:
    label = "".join(letter if letter.isprintable() else " " for letter in label)  # XML knows no control characters
    label = " ".join(label.split())
    return label if len(label) <= _LABEL else label[: _LABEL - 1] + "…"

"""What `brushup evaluate` shows a person: its tables on stdout, what is missing on stderr."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.output import say, scale_of

PLAIN_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""


def show_evaluation(found: Mapping[str, Any]) -> None:
    """Print an evaluation's tables on stdout, and where its files are on stderr."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(_scores(found))
    for renderer, rows in found.get("styles", {}).items():
        console.print(_styles(renderer, rows, found["optimised"]))
    console.print(_costs(found))
    if found["pairs"]["rows"]:
        console.print(_pairs(found))
    for name, part in found["parts"].items():
        if "missing" not in part:
            for shown in PARTS[name](part, found["optimised"]):
                console.print(shown)
    for lack in found["missing"]:
        say(f"missing: {lack['name']} ({lack['what']}); make it: {lack['command']}")
    say(f"files: {found['folder']}/table.json, rows.jsonl, sheets/")


def _scores(found: Mapping[str, Any]) -> Table:
    optimised = found["optimised"]
    names = list(dict.fromkeys(name for row in found["rows"].values() for name in row["scores"]))
    title = (
        f"{found['prompts']} prompts x {found['seeds']} seeds ({found['split']}); gain over naive, "
        f"{optimised}{' x 100' if scale_of(optimised) != 1 else ''} first; *: the interval leaves out 0"
    )
    shown = Table(title=title, title_justify="left")
    shown.add_column("row", no_wrap=True)
    for heading in ("mean", "gain", "95 % interval", "p", "win", "tie", *map(_short, names[1:]), "relevance", "failed"):
        shown.add_column(heading, justify="right")
    for name, row in found["rows"].items():
        shown.add_row(name, *_main(row, optimised), *(_gain(row, other) for other in names[1:]), *_last(row))
    return shown


def _short(scorer: str) -> str:
    return scorer.partition(":")[0] + (" x 100" if scale_of(scorer) != 1 else "")


def _main(row: Mapping[str, Any], scorer: str) -> Sequence[str]:
    found = row["scores"].get(scorer)
    if found is None:
        return ["-"] * 6
    return (
        f"{scale_of(scorer) * found['mean']:.2f}",
        *_interval(found, scorer),
        _chance(found["p"]),
        f"{found['win']:.0%}",
        f"{found['tie']:.0%}",
    )


def _chance(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def _gain(row: Mapping[str, Any], scorer: str) -> str:
    found = row["scores"].get(scorer)
    if found is None:
        return "-"
    low, high = found["ci95"] or (0, 0)
    mark = "*" if low > 0 or high < 0 else " "
    return f"{scale_of(scorer) * found['delta']:+.3f}{mark}"


def _last(row: Mapping[str, Any]) -> Sequence[str]:
    return "-" if row["relevance"] is None else f"{row['relevance']:.3f}", str(row["failed"])


def _styles(renderer: str, rows: Mapping[str, Any], scorer: str) -> Table:
    scale = scale_of(scorer)
    styles = [style for style in dict.fromkeys(chain.from_iterable(rows.values())) if style != "average"]

    def mean(found: Mapping[str, float] | None) -> str:
        return "-" if found is None else f"{scale * found['mean']:.2f} ± {scale * found['chunk_sd']:.2f}"

    def average(value: float | None) -> str:
        return "-" if value is None else f"{scale * value:.2f}"

    cells = [(name, *(mean(row.get(style)) for style in styles), average(row["average"])) for name, row in rows.items()]
    title = f"{renderer}: mean {scorer}{' x 100' if scale != 1 else ''} a style"
    return _plain(title, ("row", *styles, "average"), cells)


def _costs(found: Mapping[str, Any]) -> Table:
    shown = Table(title="what a refined prompt costs (CPU seconds of this process, after a warm-up)")
    shown.title_justify = "left"
    for heading in ("row", "LLM calls", "tokens", "CPU s", "words", "refined by"):
        shown.add_column(heading, justify="left" if heading in ("row", "refined by") else "right", no_wrap=True)
    for name, row in found["rows"].items():
        calls, tokens, seconds = (row[f"{what}_per_prompt"] for what in ("llm_calls", "tokens", "seconds"))
        words = "-" if row["words"] is None else f"{row['words']:.1f}"
        shown.add_row(name, f"{calls:.2f}", f"{tokens:.0f}", f"{seconds:.4f}", words, row["label"][:90])
    return shown


def _pairs(found: Mapping[str, Any]) -> Table:
    reference, scorer = found["pairs"]["reference"], found["optimised"]
    rows = [
        (name, *_interval({"delta": pair["difference"], "ci95": pair["ci95"]}, scorer), _chance(pair["p_adjusted"]))
        for name, scores in found["pairs"]["rows"].items()
        if (pair := scores.get(scorer))
    ]
    title = f"{reference} less each other row, {scorer}; p: paired sign flips, Holm"
    return _plain(title, ("row", "difference", "95 % interval", "p adjusted"), rows)


def _constraints(part: Mapping[str, Any], scorer: str) -> Iterator[Table]:
    rows = [
        (name, _share(row["satisfaction"]), f"{row['words']:.1f}", f"{scale_of(scorer) * row['gains'][scorer]:+.2f}")
        for name, row in part["subsets"].items()
        if scorer in row["gains"]
    ]
    yield _plain("wishes", ("categories", "satisfied", "words", "gain"), rows)
    effects = [
        (name, *_interval({"delta": row["effect"], "ci95": row["ci95"]}, scorer))
        for name, row in part["effects"][scorer].items()
    ]
    yield _plain("categories, alone and beyond that in pairs", ("category", "effect", "95 % interval"), effects)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _detail(part: Mapping[str, Any], scorer: str) -> Iterator[Table]:  # noqa: ARG001 - the shape of a part
    told = {
        "input_words": "words asked",
        "answer_words": "words",
        "added_words": "words added",
        "added_phrases": "phrases added",
        "added_content_words": "content words added",
        "kept": "kept",
    }
    for refiner, found in part["refiners"].items():
        levels = [
            (level, *(f"{row[key]:.2f}" if key in row else "-" for key in told))
            for level, row in found["levels"].items()
        ]
        yield _plain(f"detail: {refiner}", ("asked", *told.values()), levels)


def _unseen(part: Mapping[str, Any], scorer: str) -> Iterator[Table]:
    for blind, found in part["refiners"].items():
        for against in (key for key in found if key != "kept"):
            rows = [(group, *_interval(row[scorer], scorer)) for group, row in found[against].items() if scorer in row]
            title = f"{blind} {against.replace('_', ' ')}, {scorer}"
            yield _plain(title, ("prompts", "gain", "95 % interval"), rows)


def _judges(part: Mapping[str, Any], scorer: str) -> Iterator[Table]:  # noqa: ARG001 - the shape of a part
    headings = ("scorer", "pairs", "accuracy", "95 % interval", "agreement", "ceiling")
    for kind in ("pictures", "texts"):
        rows = []
        for name, row in part[kind].items():
            if row["pairs"]:
                within = "[{:.3f}, {:.3f}]".format(*row["ci95"]) if row["ci95"] else "-"
                shares = [f"{row[key]:.3f}" for key in ("accuracy", "agreement", "ceiling")]
                rows.append((name, str(row["pairs"]), shares[0], within, *shares[1:]))
        yield _plain(f"agreement with the annotator: {kind}", headings, rows)


PARTS: dict[str, Callable[[Mapping[str, Any], str], Iterator[Table]]] = {
    "constraints": _constraints,
    "detail": _detail,
    "unseen": _unseen,
    "judges": _judges,
}
"""Tables of the ablation's parts, by name."""


def _interval(row: Mapping[str, Any], scorer: str) -> Sequence[str]:
    scale = scale_of(scorer)
    within = "[{:+.2f}, {:+.2f}]".format(*(scale * bound for bound in row["ci95"])) if row["ci95"] else "-"
    return f"{scale * row['delta']:+.2f}", within


def _plain(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column is a name and whose others are numbers."""
    shown = Table(title=title, title_justify="left")
    for place, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    return shown

"""From a suite's name and a user's order to its evaluation, HPSv2's benchmark among them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from core.errors import BadInput
from core.progress import Progress
from experiments.folder import write_json
from experiments.suites.bench import Order
from experiments.suites.cases import file_cases, miniworld_cases
from experiments.suites.config import SuiteConfig
from experiments.suites.evaluate import evaluate
from experiments.suites.rows import make_rows, run_prompts_of
from experiments.suites.sheets import Shown, file_name
from experiments.suites.table import Case, mean_of

HPSV2 = "hpsv2"
STYLES = ("anime", "concept-art", "paintings", "photo")
"""HPSv2's benchmark files, `STYLE.json`: bare lists of 800 prompts each (zhwang/HPDv2, benchmark/)."""
CHUNK = 80
"""Prompts whose mean is one number; the benchmark gives the spread of these (tgxs002/HPSv2, `evaluation.py`)."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def run_suite(home: Path, config: SuiteConfig, order: Order, progress: Progress) -> dict[str, Any]:
    """Evaluate a suite; see `experiments.suites.evaluate.evaluate`. `hpsv2` adds `styles` and `renderers`.

    Raises:
        BadInput: a row that was asked for cannot be evaluated, or a model or file cannot be used.
        BudgetReached: a cap would be overshot; the same command with a higher one goes on.
    """
    if not _NAME.fullmatch(order.name) or order.name == "answers":
        raise BadInput(f"--name is {order.name!r:.80}; expected letters, digits, '.', '_' or '-', and not answers")
    if order.suite == HPSV2:
        return _benchmark(home, config, order, progress)
    if len(order.renderers) > 1:
        raise BadInput(f"--renderer is given {len(order.renderers)} times; several are for --suite {HPSV2} alone")
    rows, missing = make_rows(config, home, order.run, order.rows)
    cases = _cases(home, config, order)
    found, _ = evaluate(home, _drawn_by(config, order.renderers[:1]), order, rows, cases, missing, progress)
    return found


def _cases(home: Path, config: SuiteConfig, order: Order) -> list[Case]:
    if order.prompts:
        return file_cases(order.prompts, order.column)
    seen = run_prompts_of(home, order.run)
    return miniworld_cases(config.per_group, config.seed, split=order.split, seen=seen)


def _drawn_by(config: SuiteConfig, renderers: Sequence[str]) -> SuiteConfig:
    return replace(config, renderer=renderers[0]) if renderers else config


def _benchmark(home: Path, config: SuiteConfig, order: Order, progress: Progress) -> dict[str, Any]:
    """Evaluate on HPSv2's benchmark with one renderer after another.

    `styles` has, by renderer and row, each style's mean score (raw; papers show it x 100), the spread of the means of
    80 prompts, and their average over the styles. `renderers` has each one's whole table; `rows` is the first one's.
    """
    if order.prompts is None:
        raise BadInput(
            f"--prompts is not given; expected a folder with {', '.join(f'{style}.json' for style in STYLES)} "
            "(benchmark/ of the Hugging Face data set zhwang/HPDv2)"
        )
    rows, missing = make_rows(config, home, order.run, order.rows)
    cases = [
        case
        for style in STYLES
        for case in file_cases(order.prompts / f"{style}.json", group=style)[: config.per_group]
    ]
    tables, styles = {}, {}
    for renderer in order.renderers or (config.renderer,):
        own = replace(order, name=f"{order.name}/{file_name(renderer)}")
        table, shown = evaluate(home, _drawn_by(config, [renderer]), own, rows, cases, missing, progress)
        tables[renderer] = table
        styles[renderer] = {one.outcome.name: _styles(one, table["optimised"]) for one in shown}
    first = next(iter(tables.values()))
    folder = home / "evaluations" / order.name
    found = {**first, "folder": str(folder), "styles": styles, "renderers": tables}
    write_json(folder / "table.json", found)
    return found


def _styles(one: Shown, scorer: str) -> Mapping[str, Any]:
    outcome, found = one.outcome, {}
    for style in STYLES:
        rows = zip(outcome.cases, outcome.scores[scorer], strict=True)
        means = [mean for case, values in rows if case.group == style and (mean := mean_of(values)) is not None]
        chunks = [fmean(means[start : start + CHUNK]) for start in range(0, len(means), CHUNK)]
        if chunks:
            found[style] = {"mean": fmean(means), "chunk_sd": pstdev(chunks), "n": len(means)}
    average = fmean(row["mean"] for row in found.values()) if len(found) == len(STYLES) else None
    return {**found, "average": average}

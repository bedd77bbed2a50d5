"""`brushup evaluate`: refine, draw, score, tabulate. Everything is cached, so a killed evaluation goes on."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.progress import Progress
from experiments.folder import write_json, write_text
from experiments.suites.ablation import run_parts
from experiments.suites.bench import Bench, Order, open_bench
from experiments.suites.config import SuiteConfig
from experiments.suites.rows import Missing, Row
from experiments.suites.sheets import Shown, draw_sheet
from experiments.suites.table import Case, table

FEW = 10
"""Prompts below which a bootstrap's interval is too short to be told without a warning."""
SPENT = ("render", "score", "llm", "tokens", "seconds")


def evaluate(
    home: Path,
    config: SuiteConfig,
    order: Order,
    rows: Sequence[Row],
    cases: Sequence[Case],
    missing: Sequence[Missing],
    progress: Progress,
) -> tuple[dict[str, Any], list[Shown]]:
    """Evaluate rows on prompts; `HOME/evaluations/NAME` gets `table.json`, `rows.jsonl` and a contact sheet a row.

    Args:
        home: folder of all runs.
        config: the suite.
        order: what the user asked for.
        rows: naive first, and every row behind the one it is held against.
        cases: naive prompts.
        missing: rows that cannot be evaluated.
        progress: told what happens.

    Returns:
        The table (see `experiments.suites.table.table`) with `suite`, `optimised`, `prompts`, `seeds`, `renderer`,
        `parts`, `missing`, `failed`, `errors`, `ledger` and `folder`; and what came of each row.

    Raises:
        BadInput: a row that was asked for cannot be evaluated, or a model cannot be used.
        BudgetReached: a cap would be overshot; the same command with a higher one goes on.
    """
    for lack in missing:
        progress.note(f"missing: {lack.name} ({lack.what}); make it: {lack.command}")
    if len(cases) < FEW:
        progress.note(f"warning: {len(cases)} prompts say little by their intervals; give {FEW} or more")
    with open_bench(home, config, order, rows, cases, progress) as bench:
        shown, failed = run_rows(bench, rows, cases, strict=bool(order.rows))
        found = {
            "format": "brushup-evaluation/1",
            "suite": order.suite,
            "optimised": bench.scorers[0].name,
            "prompts": len(cases),
            "seeds": config.seeds,
            "split": "file" if order.prompts else order.split,
            "renderer": bench.table.renderer.name,
            **table([one.outcome for one in shown], config.reference),
            "parts": run_parts(bench, cases, shown),
            "missing": [asdict(lack) for lack in missing],
            "failed": failed,
            "errors": dict(bench.table.errors),
            "ledger": {kind: bench.table.ledger.spent(kind) for kind in SPENT},
            "folder": str(bench.folder),
        }
    write_text(bench.folder / "rows.jsonl", "".join(map(_lines, shown)))
    write_json(bench.folder / "table.json", found)
    return found, shown


def run_rows(
    bench: Bench, rows: Sequence[Row], cases: Sequence[Case], *, strict: bool
) -> tuple[list[Shown], list[dict[str, str]]]:
    """Return what comes of rows, each with a contact sheet, and the rows that failed as a whole.

    All rows answer before anything is drawn: a refiner that cannot be used is found at once.

    Raises:
        BadInput: a row cannot be evaluated, and `strict`.
    """
    asked = {row.name: row.cases or cases for row in rows}
    answers, failed = {}, []
    for row in rows:
        try:
            answers[row.name] = bench.answers(row, [case.prompt for case in asked[row.name]])
        except BadInput as error:
            if strict:
                raise
            bench.progress.note(f"warning: row {row.name} is left out: {error}")
            failed.append({"row": row.name, "error": str(error)})
    shown: dict[str, Shown] = {}
    for row in (row for row in rows if row.name in answers):
        shown[row.name] = bench.show(row, asked[row.name], answers[row.name])
        if row.against != row.name:
            draw_sheet(bench.folder / "sheets", shown[row.name], shown[row.against])
    return list(shown.values()), failed


def _lines(one: Shown) -> str:
    """Return a row's prompts as JSON lines: what was asked, what became of it, and every score."""
    outcome, lines = one.outcome, []
    for place, case in enumerate(outcome.cases):
        line = {
            "row": outcome.name,
            "group": case.group,
            "naive": case.prompt,
            "refined": outcome.refined[place],
            "error": outcome.errors[place],
            "scores": {name: list(values[place]) for name, values in outcome.scores.items()},
            "pictures": [file.stem if file else None for file in one.pictures[place]],
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines)

"""A contact sheet a row: some prompts of each family, the naive picture above the refined one, on the same seed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.records import Prompt
from experiments.contact_sheet import Cell, compose
from experiments.suites.table import Outcome

COLUMNS = 4
PAIRS = 3
"""Prompts a column."""


@dataclass(frozen=True)
class Shown:
    """What came of a row, with its pictures: by case, one a seed."""

    outcome: Outcome
    pictures: Sequence[Sequence[Path | None]]


def file_name(name: str) -> str:
    """Return the name of a row or renderer, which may be a path, as that of a file."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:]


def draw_sheet(folder: Path, row: Shown, naive: Shown) -> None:
    """Save a row's contact sheet: a column a group (four at most), the first prompts of each.

    Args:
        folder: where `ROW.png` goes.
        row: what was refined.
        naive: the row of its naive prompts.
    """
    places: dict[str, list[int]] = {}
    for place, case in enumerate(row.outcome.cases):
        places.setdefault(case.group, []).append(place)
    groups = list(places)[:COLUMNS]
    lines = []
    for pair in range(min(PAIRS, *(len(places[group]) for group in groups))):
        chosen = [places[group][pair] for group in groups]
        lines += [(Prompt("", "", ""), [_cell(one, place) for place in chosen]) for one in (naive, row)]
    folder.mkdir(parents=True, exist_ok=True)
    compose([group or "prompts" for group in groups], lines).save(folder / f"{file_name(row.outcome.name)}.png")


def _cell(one: Shown, place: int) -> Cell:
    text = one.outcome.refined[place]
    naive = one.outcome.cases[place].prompt
    if text and text != naive and text.startswith(naive):  # what was added is what a caption has room for
        text = f"+ {text.removeprefix(naive).lstrip(' ,')}"
    return Cell(one.pictures[place][0], text or f"(failed) {one.outcome.errors[place]}")

"""`brushup gradients`: how often the textual gradients of miniworld runs are right."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.options import HOME, Home, Json
from cli.output import emit

PLAIN_WIDTH = 160
"""Columns of a table that goes into a file or a pipe."""


def gradients(
    runs: Annotated[list[str] | None, typer.Argument(help="Names of runs. Default: all in the home.")] = None,
    clear: Annotated[
        float,
        typer.Option(help="Standard deviations from 0 at which the offline gradient's number counts; 0: its sign."),
    ] = 2.0,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Say how often the textual gradients of miniworld runs name phrases rightly, by batch size."""
    from experiments.folder import all_folders, existing_folder
    from experiments.gradient_validation import validate_gradients

    chosen = [existing_folder(home, name) for name in runs] if runs else list(all_folders(home))
    found = validate_gradients(chosen, clear)
    if json:
        emit(found)
    else:
        _show(found)


def _show(found: Mapping[str, Any]) -> None:
    title = "phrases that gradients name, against their true effect: p = precision, r = recall [95 % over runs]"
    table = Table(title=title, title_justify="left")
    for heading in (
        "batch size",
        "gradient",
        "n",
        "results",
        *("helpful p", "r", "chance"),
        *("harmful p", "r", "chance"),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for size, rows in found["batch_sizes"].items():
        for which, row in rows.items():
            counts = (size, which, str(row["gradients"]), f"{row['results']:.0f}")
            table.add_row(*counts, *_cells(row["helpful"]), *_cells(row["harmful"]), end_section=which == "last")
    Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(table)


def _cells(counted: Mapping[str, Any]) -> tuple[str, str, str]:
    return _share(counted["precision"]), _share(counted["recall"]), f"{counted['chance']:.2f}"


def _share(ratio: Mapping[str, Any] | None) -> str:
    if ratio is None:
        return "-"
    low, high = ratio["ci95"]
    return f"{ratio['mean']:.2f} [{low:.2f}, {high:.2f}]"

"""`brushup report`: a run, a comparison, or several runs as one HTML page to read, print and send."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import HOME, Home, Json
from cli.output import emit, say


def report(
    names: Annotated[list[str], typer.Argument(help="A run, a comparison of `brushup compare`, or several runs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("report.html"),
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Write a report: one HTML file with charts and pictures, which needs no network. Runs need not be finished."""
    from experiments.export import write_export
    from experiments.report.page import make_page

    page = make_page(home, names)
    write_export(output, page.html)
    if json:
        emit({"runs": names, "kind": page.kind, "verdict": page.verdict, "file": str(output)})
    else:
        say(page.verdict)
        say(f"wrote {output} ({len(page.html.encode()) / 1e6:.1f} MB)")

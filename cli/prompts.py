"""`brushup prompts`: the library of professional prompts, from which the agents take their exemplars."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cli.options import HOME, Home, Json
from cli.output import console, emit, say

if TYPE_CHECKING:
    from prompt_db.library import Library

SHOWN = 5
"""Bad rows that are named one by one."""

prompts_app = typer.Typer(
    name="prompts",
    help="The library of professional prompts: import, search, count.",
    no_args_is_help=True,
    add_completion=False,
)


@prompts_app.command("import")
def import_prompts(
    file: Annotated[Path, typer.Argument(help="txt, csv, tsv, json or jsonl.")],
    column: Annotated[str | None, typer.Option(help="Column with the prompts, when it is not recognised.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the corpus; default: the file's.")] = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Import a file of prompts into a corpus, whole or not at all; duplicates and bad rows are counted."""
    report = _library(home).import_file(file, column=column, name=name)
    if json:
        emit(
            {
                "corpus": report.name,
                "rows": report.rows,
                "added": report.added,
                "duplicates": report.duplicates,
                "bad": [{"row": row, "reason": reason} for row, reason in report.bad],
                "digest": report.digest,
            }
        )
        return
    say(
        f"corpus {report.name}: {report.added} prompts added of {report.rows} rows, "
        f"{report.duplicates} duplicates, {len(report.bad)} bad"
    )
    for row, reason in report.bad[:SHOWN]:
        say(f"  row {row}: {reason}")
    if len(report.bad) > SHOWN:
        say(f"  and {len(report.bad) - SHOWN} more; --json lists them all")


@prompts_app.command()
def search(
    query: Annotated[str, typer.Argument(help="Words that a prompt must have, in any inflection.")],
    limit: Annotated[int, typer.Option(help="Most prompts.")] = 20,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Search all corpora, best match first."""
    hits = _library(home).search(query, limit)
    if json:
        emit([asdict(hit) for hit in hits])
        return
    for hit in hits:
        say(f"{hit.corpus}: {hit.text}")
    if not hits:
        say(f"no prompt has all words of {query!r}")


@prompts_app.command()
def stats(home: Home = HOME, json: Json = False) -> None:
    """List the corpora with their sizes."""
    corpora = _library(home).stats()
    if json:
        emit([asdict(corpus) for corpus in corpora])
        return
    if not corpora:
        say(f"no corpus in {home}; import one with: brushup prompts import FILE --home {home}")
        return
    table = Table("corpus", "prompts", "source", "last import", "digest")
    for corpus in corpora:
        cells = (corpus.name, str(corpus.rows), corpus.source, corpus.imported_at, corpus.digest)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)


def _library(home: Path) -> "Library":
    from prompt_db.library import Library

    return Library(home / "prompts.db")

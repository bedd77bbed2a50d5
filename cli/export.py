"""`brushup export`: a run's instructions for use elsewhere."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import HOME, Home, Json
from cli.output import emit, say


def export(
    name: Annotated[str, typer.Argument(help="Name of a completed run.")],
    form: Annotated[
        str, typer.Option("--format", help="json: all instructions, evidence, settings; text: the best.")
    ] = ("json"),
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write; default: stdout.")] = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Export a run's tuned instructions; the JSON file can be given to `optimize --instructions`."""
    from experiments.export import export_run, write_export
    from experiments.folder import existing_folder

    text = export_run(existing_folder(home, name), form)
    if output is not None:
        write_export(output, text)
        say(f"wrote {output}")
        if json:
            emit({"run": name, "format": form, "file": str(output)})
    elif json and form == "text":
        emit({"run": name, "format": form, "text": text.rstrip("\n")})
    else:
        sys.stdout.write(text)

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
        str,
        typer.Option(
            "--format",
            help="json, messages, text, markdown, styles-csv, sdxl-styles, invokeai, wildcards, langchain or comfyui.",
        ),
    ] = "json",
    top: Annotated[
        int | None, typer.Option(help="So many instructions, best first; default: the best, in json all.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Fill in this prompt (json, messages, comfyui); default: {prompt} stays.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write; default: stdout.")] = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Export a run's tuned instructions, or the style they learned, for other tools: see docs/exports.md."""
    from experiments.export import FORMATS, export_run, write_export
    from experiments.folder import existing_folder

    exported = export_run(existing_folder(home, name), form, top=top, prompt=prompt)
    content = exported.text
    for note in exported.notes:
        say(f"note: {note}")
    if output is not None:
        write_export(output, content)
        say(f"wrote {output}")
        if json:
            emit({"run": name, "format": form, "file": str(output)})
    elif json and not FORMATS[form].json:
        emit({"run": name, "format": form, "text": content.rstrip("\n")})
    else:
        sys.stdout.write(content)

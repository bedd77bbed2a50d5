"""`brushup distill`: a run's result as a small model."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import HOME, Home, Json, Quiet
from cli.output import Bar
from cli.train import show_refiner


def distill(
    runs: Annotated[list[str], typer.Argument(help="Names of runs.")],
    refiner: Annotated[str, typer.Option(help="sft (a language model) or prip (the pivot refiner).")] = "sft",
    config: Annotated[
        str | None,
        typer.Option(help="TOML file of brushup train for prip, neuroprompts or promptist. Default: miniworld size."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE over the file, as model.sft.epochs=5; several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The refiner's folder. Default: HOME/refiners/RUN-REFINER.")] = None,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Train a refiner without an LLM on what runs found, from their train blocks and corpus alone."""
    from experiments.distill import distill as run

    bar = Bar(1, quiet=quiet)
    try:
        done = run(home, runs, bar, refiner=refiner, source=config, settings=settings or [], out=out)
    finally:
        bar.close()
    if done:
        show_refiner(done, json=json)

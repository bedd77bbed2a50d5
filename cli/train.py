"""`brushup train`: a refiner that needs no LLM."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import HOME, Home, Json, MaxRenders, Quiet
from cli.output import Bar, emit, say


def train(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    refiner: Annotated[str, typer.Argument(help="prip, beautifulprompt, neuroprompts, promptist, rew-syn or rew-log.")],
    config: Annotated[str | None, typer.Argument(help="TOML file, miniworld (the default) or paper.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE over the file, as model.ppo.steps=50; several.")
    ] = None,
    block_terms: Annotated[
        list[str] | None, typer.Option(help="Leave out prompts with this term, a living artist say; several.")
    ] = None,
    max_renders: MaxRenders = None,
    out: Annotated[Path | None, typer.Option(help="The refiner's folder. Default: HOME/refiners/NAME.")] = None,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Train a refiner; the same command goes on where it was stopped."""
    from experiments.training.run import train as run

    given = list(settings or [])
    if block_terms:
        given.append(f"data.block_terms={dumps(block_terms, ensure_ascii=False)}")
    if max_renders is not None:
        given.append(f"budget.max_renders={max_renders}")
    bar = Bar(1, quiet=quiet)
    try:
        done = run(home, refiner, config, given, bar, out=out)
    finally:
        bar.close()
    if done:  # nothing, in the other processes of several
        show_refiner(done, json=json)


def show_refiner(done: dict[str, Any], *, json: bool) -> None:
    """Print where a refiner is, what it learned from, and how to use it."""
    if json:
        emit(done)
        return
    say(f"{done['label']}: {done['refiner']}")
    for name, value in done["data"].items():
        say(f"  {name}: {value}")
    for name, value in done["figures"].items():
        say(f"  {name}: {value:.4g}")
    say(f'use it: brushup refine "a red boat by the sea" --refiner {done["refiner"]}')

"""`brushup refine`: use what a run found."""

from typing import Annotated

import typer

from cli.options import HOME, ApiBase, Home, Json
from cli.output import emit, say


def refine(
    prompts: Annotated[list[str], typer.Argument(help="Naive prompts.")],
    run: Annotated[str, typer.Option("--run", help="Name of a completed run.")],
    instruction: Annotated[str | None, typer.Option(help="Id of another instruction than the best.")] = None,
    llm: Annotated[str | None, typer.Option(help="Another model than the run's.")] = None,
    api_base: ApiBase = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Refine prompts with a run's best instruction; one refined prompt a line on stdout."""
    from experiments.refine import refine_prompts

    refined = refine_prompts(home, run, prompts, instruction=instruction, llm=llm, api_base=api_base)
    for note in refined.notes:
        say(f"note: {note}")
    if json:
        emit(
            [
                {
                    "naive": item.naive,
                    "refined": item.text or None,
                    "negative": item.negative,
                    "instruction": refined.instruction,
                    "error": item.error,
                }
                for item in refined.refinements
            ]
        )
    else:
        for item in refined.refinements:
            if not item.error:
                print(item.text)
                if item.negative:
                    say(f"negative prompt: {item.negative}")
    failed = [item for item in refined.refinements if item.error]
    for item in failed:
        say(f"brushup: {item.naive[:60]!r} was not refined: {item.error}; try again, another --instruction or --llm")
    if failed:
        raise typer.Exit(2)

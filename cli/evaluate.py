"""`brushup evaluate`: every way to refine a prompt in one table, on equal prompts, seeds and scorers."""

from pathlib import Path
from typing import Annotated

import typer

from cli.evaluation_tables import show_evaluation
from cli.options import HOME, ApiBase, Home, Json, MaxLlmCalls, MaxLlmTokens, MaxRenders, MaxSeconds, Quiet
from cli.output import Bar, emit


def evaluate(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    suite: Annotated[str, typer.Option(help="table, ablation, transfer or hpsv2.")] = "table",
    rows: Annotated[
        str, typer.Option(help="Rows, or refiners of your own, separated by commas. Default: all of the suite.")
    ] = "",
    run: Annotated[str | None, typer.Option("--run", help="A completed run: its best instruction is a row.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of rows instead of the suite's own.")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Naive prompts: txt, csv, tsv, json, jsonl; for hpsv2, the folder of its benchmark."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="With --prompts: the column that holds them.")] = None,
    split: Annotated[str, typer.Option(help="test: fresh prompts; validation: the shipped ones, for tuning.")] = "test",
    per_group: Annotated[int | None, typer.Option(min=1, help="Prompts of each style family.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Pictures a prompt.")] = None,
    renderer: Annotated[list[str] | None, typer.Option(help="Another pipeline or server; hpsv2: several.")] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="Scorers, the optimised one first; several.")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only print the commands that train what is missing, one a line.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="Folder below HOME/evaluations, one an evaluation. Default: the suite's name.")
    ] = None,
    llm: Annotated[str | None, typer.Option(help="Another language model for the rows that ask one.")] = None,
    api_base: ApiBase = None,
    max_renders: MaxRenders = None,
    max_llm_calls: MaxLlmCalls = None,
    max_llm_tokens: MaxLlmTokens = None,
    max_seconds: MaxSeconds = None,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Evaluate refiners, instructions and prompts side by side; nothing is trained.

    Start the same command again after a kill: answers, pictures and scores are kept.
    """
    from core.errors import Interrupted
    from experiments.suites.bench import Order
    from experiments.suites.config import load_suite, with_flags
    from experiments.suites.rows import commands_to_train
    from experiments.suites.run import run_suite
    from prompt_db.caps import Caps

    given = {"per_group": per_group, "seeds": seeds, "scorers": tuple(scorer or ())}
    order = Order(
        suite,
        name or suite,
        [part.strip() for part in rows.split(",") if part.strip()],
        run,
        split,
        prompts,
        column,
        renderer or (),
        llm,
        api_base,
        Caps(max_renders, max_llm_calls, max_llm_tokens, None, max_seconds),
    )
    chosen = with_flags(load_suite(suite, config), given)
    if missing:
        for command in commands_to_train(home, chosen, run, order.rows):
            print(command)
        return
    bar = Bar(1, quiet=quiet)
    try:
        found = run_suite(home, chosen, order, bar)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; what is done is kept: give the same command again to go on") from None
    finally:
        bar.close()
    if json:
        emit(found)
    else:
        show_evaluation(found)

"""`brushup evaluate`: every way to refine a prompt in one table, on equal prompts, seeds and scorers."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.options import HOME, ApiBase, Home, Json, MaxLlmCalls, MaxLlmTokens, MaxRenders, MaxSeconds, Quiet
from cli.output import Bar, emit, say, scale_of

PLAIN_WIDTH = 200
"""Columns of a table that goes into a file or a pipe."""


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
    name: Annotated[str | None, typer.Option(help="Folder below HOME/evaluations. Default: the suite's name.")] = None,
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
        for command in commands_to_train(home, chosen, run):
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


def show_evaluation(found: Mapping[str, Any]) -> None:
    """Print an evaluation's tables on stdout, and where its files are on stderr."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(_scores(found))
    for renderer, rows in found.get("styles", {}).items():
        console.print(_styles(renderer, rows, found["optimised"]))
    console.print(_costs(found))
    if found["pairs"]["rows"]:
        console.print(_pairs(found))
    for lack in found["missing"]:
        say(f"missing: {lack['name']} ({lack['what']}); make it: {lack['command']}")
    say(f"files: {found['folder']}/table.json, rows.jsonl, sheets/")


def _scores(found: Mapping[str, Any]) -> Table:
    optimised = found["optimised"]
    names = list(dict.fromkeys(name for row in found["rows"].values() for name in row["scores"]))
    title = (
        f"{found['prompts']} prompts x {found['seeds']} seeds ({found['split']}); gain over naive, "
        f"{optimised}{' x 100' if scale_of(optimised) != 1 else ''} first; *: the interval leaves out 0"
    )
    shown = Table(title=title, title_justify="left")
    shown.add_column("row", no_wrap=True)
    for heading in ("mean", "gain", "95 % interval", "p", "win", "tie", *map(_short, names[1:]), "relevance", "failed"):
        shown.add_column(heading, justify="right")
    for name, row in found["rows"].items():
        shown.add_row(name, *_main(row, optimised), *(_gain(row, other) for other in names[1:]), *_last(row))
    return shown


def _short(scorer: str) -> str:
    return scorer.partition(":")[0] + (" x 100" if scale_of(scorer) != 1 else "")


def _main(row: Mapping[str, Any], scorer: str) -> Sequence[str]:
    found = row["scores"].get(scorer)
    if found is None:
        return ["-"] * 6
    scale, (low, high) = scale_of(scorer), found["ci95"]
    return (
        f"{scale * found['mean']:.2f}",
        f"{scale * found['delta']:+.2f}",
        f"[{scale * low:+.2f}, {scale * high:+.2f}]",
        f"{found['p']:.4f}",
        f"{found['win']:.0%}",
        f"{found['tie']:.0%}",
    )


def _gain(row: Mapping[str, Any], scorer: str) -> str:
    found = row["scores"].get(scorer)
    if found is None:
        return "-"
    low, high = found["ci95"]
    mark = "*" if low > 0 or high < 0 else " "
    return f"{scale_of(scorer) * found['delta']:+.3f}{mark}"


def _last(row: Mapping[str, Any]) -> Sequence[str]:
    return "-" if row["relevance"] is None else f"{row['relevance']:.3f}", str(row["failed"])


def _styles(renderer: str, rows: Mapping[str, Any], scorer: str) -> Table:
    scale = scale_of(scorer)
    styles = [style for style in next(iter(rows.values())) if style != "average"]
    shown = Table(title=f"{renderer}: mean {scorer}{' x 100' if scale != 1 else ''} a style", title_justify="left")
    for heading in ("row", *styles, "average"):
        shown.add_column(heading, justify="left" if heading == "row" else "right", no_wrap=True)
    for name, row in rows.items():
        cells = (f"{scale * row[style]['mean']:.2f} ± {scale * row[style]['chunk_sd']:.2f}" for style in styles)
        shown.add_row(name, *cells, f"{scale * row['average']:.2f}")
    return shown


def _costs(found: Mapping[str, Any]) -> Table:
    shown = Table(title="what a refined prompt costs (CPU seconds of this process, after a warm-up)")
    shown.title_justify = "left"
    for heading in ("row", "LLM calls", "tokens", "CPU s", "words", "refined by"):
        shown.add_column(heading, justify="left" if heading in ("row", "refined by") else "right", no_wrap=True)
    for name, row in found["rows"].items():
        calls, tokens, seconds = (row[f"{what}_per_prompt"] for what in ("llm_calls", "tokens", "seconds"))
        words = "-" if row["words"] is None else f"{row['words']:.1f}"
        shown.add_row(name, f"{calls:.2f}", f"{tokens:.0f}", f"{seconds:.4f}", words, row["label"][:90])
    return shown


def _pairs(found: Mapping[str, Any]) -> Table:
    reference, scorer = found["pairs"]["reference"], found["optimised"]
    scale = scale_of(scorer)
    shown = Table(title=f"{reference} less each other row, {scorer}; p: paired sign flips, Holm", title_justify="left")
    for heading in ("row", "difference", "95 % interval", "p adjusted"):
        shown.add_column(heading, justify="left" if heading == "row" else "right", no_wrap=True)
    for name, scores in found["pairs"]["rows"].items():
        if pair := scores.get(scorer):
            low, high = pair["ci95"]
            interval = f"[{scale * low:+.2f}, {scale * high:+.2f}]"
            shown.add_row(name, f"{scale * pair['difference']:+.2f}", interval, f"{pair['p_adjusted']:.4f}")
    return shown

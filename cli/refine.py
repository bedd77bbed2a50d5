"""`brushup refine`: better prompts from a run's best instruction or from a trained refiner."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import HOME, ApiBase, Home, Json
from cli.output import Bar, emit, say


def refine(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    prompts: Annotated[list[str] | None, typer.Argument(help="Naive prompts; without any, lines of stdin.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Name of a completed run: its best instruction.")] = None,
    refiner: Annotated[
        str | None,
        typer.Option(help="A trained refiner: name in HOME/refiners, folder, hub id, or NAME=WEIGHTS. Default: ours."),
    ] = None,
    style: Annotated[list[str] | None, typer.Option(help="A wanted style term, or auto; several: one of them.")] = None,
    want: Annotated[
        list[str] | None,
        typer.Option(help="CATEGORY=TERM or CATEGORY=auto: style, artist, format, booster, vibe, perspective."),
    ] = None,
    must: Annotated[list[str] | None, typer.Option(help="A term that must be in it; several: all of them.")] = None,
    must_not: Annotated[list[str] | None, typer.Option(help="A term that must not be added.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="Refinements a prompt, best first.")] = 1,
    file: Annotated[Path | None, typer.Option("--file", help="Prompts: txt, csv, tsv, json, jsonl.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSONL file; an unfinished one is gone on with. - is stdout.")
    ] = None,
    render: Annotated[bool, typer.Option("--render", help="Draw naive and refined prompts side by side.")] = False,
    renderer: Annotated[str | None, typer.Option(help="With --render: a pipeline or server. Default: ours.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="With --render: the folder. Default: HOME/refined.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    instruction: Annotated[str | None, typer.Option(help="With --run: another instruction than the best.")] = None,
    llm: Annotated[str | None, typer.Option(help="With --run: another model than the run's.")] = None,
    api_base: ApiBase = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Refine prompts with a run's best instruction or a trained refiner; one refined prompt a line on stdout."""
    from experiments.answers import trained_source, wishes_of
    from experiments.refine import run_source

    texts = _prompts(prompts or [], file)
    wishes = wishes_of(style or [], want or [], must or [], must_not or [])
    _refuse_mixed(run, refiner, instruction or llm or api_base, wishes)
    source: AbstractContextManager[Any]
    if run is not None:
        source = run_source(home, run, instruction=instruction, llm=llm, api_base=api_base, n=n)
    else:
        source = trained_source(home, refiner, wishes, n, seed)
    with source as opened:
        for note in opened.notes:
            say(f"note: {note}")
        rows = _answer(opened, texts, output, json=json)
        if run is None:
            say(f"refiner: {opened.label}")
    _finish(rows, output, json=json)
    if render and any(row["refined"] for row in rows):
        from experiments.refined_pictures import draw_answers

        say(f"pictures: {draw_answers(home, rows, pictures or home / 'refined', renderer=renderer, seed=seed)}")
    if any(row["error"] for row in rows):
        raise typer.Exit(2)


def _prompts(given: Sequence[str], file: Path | None) -> list[str]:
    """Return the users' prompts from the arguments, a file, or stdin.

    Raises:
        BadInput: none, an empty or too long one, or both arguments and a file.
    """
    from core.errors import BadInput
    from experiments.refine import checked_prompt

    if given and file is not None:
        raise BadInput(f"both prompts and --file {file} are given; give one of them")
    if file is not None:
        from prompt_db.importers import read_prompts

        read = read_prompts(file)
        if read.bad or read.duplicates:
            say(f"note: {file}: {read.duplicates} repeated and {len(read.bad)} unusable rows are left out")
        return list(read.prompts)
    lines = list(given)
    if not given and not sys.stdin.isatty():
        lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not lines:
        raise BadInput("no prompt is given; name one, --file, or pipe lines in; see: brushup refine --help")
    return [checked_prompt(line) for line in lines]


def _refuse_mixed(run: str | None, refiner: str | None, of_a_run: str | None, wishes: object) -> None:
    from core.errors import BadInput

    if run is not None and refiner is not None:
        raise BadInput(f"both --run {run} and --refiner {refiner} are given; choose who answers")
    if run is not None and wishes:
        raise BadInput(
            "--style, --want, --must and --must-not need a trained refiner (--refiner); a run has its own words"
        )
    if run is None and of_a_run:
        raise BadInput("--instruction, --llm and --api-base need --run; leave them out, or name a run")


def _answer(source: Any, texts: Sequence[str], output: Path | None, *, json: bool) -> list[dict[str, Any]]:
    """Have all prompts answered; what comes as lines is shown as it comes."""
    from experiments.answers import answer_file, answers

    if output is not None and str(output) != "-":
        bar = Bar(len(texts), of="prompts")
        try:
            return answer_file(output, source, texts, lambda done: bar.advance(done, len(texts), "refining"))
        finally:
            bar.close()
    return list(_shown(answers(source, texts), lines=output is not None, quiet=json))


def _shown(batches: Iterable[list[dict[str, Any]]], *, lines: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    import json

    for rows in batches:
        for row in rows:
            if lines:
                print(json.dumps(row, ensure_ascii=False), flush=True)
            elif not quiet and row["refined"]:
                print(row["refined"], flush=True)
                if row["negative"]:
                    say(f"negative prompt: {row['negative']}")
                for wish in row["satisfaction"]:
                    if not wish["met"]:
                        say(f"not met: {wish['label']} {', '.join(wish['found'] or wish['terms'][:5])}")
            yield row


def _finish(rows: Sequence[dict[str, Any]], output: Path | None, *, json: bool) -> None:
    if json:
        emit(rows)
    for row in rows:
        if row["error"]:
            advice = "try again, another --instruction or --llm" if "instruction" in row else "change the prompt"
            say(f"brushup: {row['naive'][:60]!r} was not refined: {row['error']}; {advice}")
    if output is not None and str(output) != "-":
        failed = sum(bool(row["error"]) for row in rows)
        say(f"{len(rows)} answers, {failed} failed: {output}")

"""`brushup refine`: better prompts from a run's best instruction or from a trained refiner."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import HOME, ApiBase, Home, Json
from cli.output import Bar, emit, say

_NEEDS = {
    "instruction": "run",
    "llm": "run",
    "api_base": "run",
    "column": "file",
    "renderer": "render",
    "pictures": "render",
}
"""Options that say something about another one, and mean nothing without it."""
_RIVALS = {
    "refiner": ("run", "choose who answers"),
    **dict.fromkeys(("style", "want", "must", "must_not"), ("run", "a run has its own words, ask a trained refiner")),
    "prompts": ("file", "give one of them"),
}
"""Options that another one leaves no room for, with what to do."""


def refine(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    context: typer.Context,
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
    column: Annotated[str | None, typer.Option(help="With --file: the column, when it is not recognised.")] = None,
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

    wishes = wishes_of(style or [], want or [], must or [], must_not or [])
    _refuse_mixed(context.params)
    texts = _prompts(prompts or [], file, column)
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


def _prompts(given: Sequence[str], file: Path | None, column: str | None) -> list[str]:
    """Return the users' prompts from the arguments, a column of a file, or stdin.

    Raises:
        BadInput: none, or an empty or too long one.
    """
    from core.errors import BadInput
    from experiments.refine import checked_prompt

    if file is not None:
        from prompt_db.importers import read_prompts

        read = read_prompts(file, column)
        if read.bad or read.duplicates:
            say(f"note: {file}: {read.duplicates} repeated and {len(read.bad)} unusable rows are left out")
        return list(read.prompts)
    lines = list(given)
    if not given and not sys.stdin.isatty():
        lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not lines:
        raise BadInput("no prompt is given; name one, --file, or pipe lines in; see: brushup refine --help")
    return [checked_prompt(line) for line in lines]


def _refuse_mixed(given: Mapping[str, Any]) -> None:
    """Raise BadInput for options that contradict each other, or that would do nothing."""
    from core.errors import BadInput

    for name, needed in _NEEDS.items():
        if given[name] and not given[needed]:
            raise BadInput(f"{_flag(name)} is given without {_flag(needed)}; leave it out, or give both")
    for name, (rival, advice) in _RIVALS.items():
        if given[name] and given[rival]:
            raise BadInput(f"both {_flag(rival)} {given[rival]} and {_flag(name)} are given; {advice}")
    if given["json"] and str(given["output"]) == "-":
        raise BadInput("both --json and -o - are given; choose one array (--json) or a line a row (-o -)")


def _flag(name: str) -> str:
    return name if name == "prompts" else f"--{name.replace('_', '-')}"


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

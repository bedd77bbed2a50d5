"""`brushup study`: a blinded human study of a run's test pictures."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import HOME, Home, Json
from cli.output import console, emit, say

study_app = typer.Typer(
    name="study",
    help="Let people judge a run's test pictures, without knowing which are whose.",
    no_args_is_help=True,
    add_completion=False,
)


@study_app.command(name="export")
def export_study(
    name: Annotated[str, typer.Argument(help="Name of a completed run.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page; a .csv is written beside it.")],
    pairs: Annotated[int, typer.Option(help="Most pairs, one a test prompt.")] = 30,
    against: Annotated[str, typer.Option(help="naive, initial or frequent.")] = "naive",
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Write one page of shuffled pairs for annotators, the pairs as CSV, and the key into the run's folder."""
    from experiments.folder import existing_folder
    from experiments.study import make_study, write_study

    folder = existing_folder(home, name)
    study = make_study(folder, pairs=pairs, against=against)
    page, table, key = write_study(study, output, folder)
    if json:
        files = {"page": str(page), "pairs": str(table), "key": str(key)}
        emit({"run": name, "study": study.key["study"], "pairs": len(study.key["pairs"]), **files})
        return
    say(f"{len(study.key['pairs'])} pairs in {page} (for your annotators) and {table} (a form to fill in by hand)")
    say(f"the key stays here: {key}")


@study_app.command(name="import")
def import_votes(
    votes: Annotated[list[Path], typer.Argument(help="Files of votes, one or more annotators.")],
    key: Annotated[Path | None, typer.Option(help="The study's key; default: the one in the run's folder.")] = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Unblind votes: wins and ties, relevance, and how far annotators and scorers agree, with 95 % intervals."""
    from experiments.study import read_key, read_votes, study_result
    from experiments.study.votes import find_key

    known = read_key(key or find_key(home, votes[0]))
    result = study_result(known, read_votes(votes, known))
    if json:
        emit(result.to_json())
        return
    _show(result.to_json())


def _show(result: dict) -> None:
    from rich.table import Table

    say(
        f"run {result['run']}: {result['best']} against {result['rival']}; {result['annotators']} annotators, "
        f"{result['pairs']} pairs judged, {result['unrated']} not"
    )
    rows = [(f"pairs: {name.replace('_', ' ')}", value, True) for name, value in result["preference"].items()]
    rows += [(f"relevance (0 to 2): {name.replace('_', ' ')}", v, False) for name, v in result["relevance"].items()]
    rows.append(("agree: two annotators", result["annotator_agreement"], True))
    rows += [(f"agrees: {name}", value, True) for name, value in result["scorer_agreement"].items()]
    table = Table()
    for heading in ("", "mean", "95 % interval", "prompts"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, value, percent in rows:
        if value is not None:
            shown = [f"{100 * x:.0f} %" if percent else f"{x:.2f}" for x in (value["mean"], *value["ci95"])]
            table.add_row(name, shown[0], f"{shown[1]} to {shown[2]}", str(value["n"]))
    console.print(table)
    say(_verdict(result))


def _verdict(result: dict) -> str:
    """Say what the preference shows, no more than its interval allows."""
    found = result["preference"]["win_minus_loss"]
    if found is None:
        return "nobody said which picture is better"
    low, high = found["ci95"]
    if low > 0:
        return f"people prefer the pictures of {result['best']}"
    if high < 0:
        return f"people prefer the pictures of {result['rival']}"
    return "cannot tell which pictures people prefer; more pairs may tell"

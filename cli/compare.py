"""`brushup compare`: which policy, batch size or configuration finds better instructions, at equal cost."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from cli.options import HOME, ApiBase, Home, Json, Quiet
from cli.output import Bar, dollars, emit, say, scale_of

Level = TypeVar("Level")
PLAIN_WIDTH = 112
"""Columns of a table that goes into a file or a pipe."""
TITLES = {"policies": "policy", "batch_sizes": "batch size", "configs": "configuration"}


def compare(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    configs: Annotated[list[Path], typer.Argument(help="TOML file; several are compared with each other as they are.")],
    policies: Annotated[str, typer.Option(help="Policies, separated by commas. Default: all there are.")] = "",
    batch_sizes: Annotated[str, typer.Option(help="Blocks a pull, separated by commas, under the same policy.")] = "",
    replicates: Annotated[int, typer.Option(help="Independent repetitions; each has its own prompts and seeds.")] = 10,
    budget_renders: Annotated[
        int | None, typer.Option(help="Pictures that the loop of each run may make; validation and test come on top.")
    ] = None,
    own_proposals: Annotated[
        bool,
        typer.Option(
            "--own-proposals", help="Gradients see all of their run's results: whole loops, unequal proposals."
        ),
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes; they change nothing but the time.")] = 1,
    run: Annotated[str | None, typer.Option("--run", help="Name of the comparison. Default: compare-CONFIG.")] = None,
    api_base: ApiBase = None,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Compare policies, batch sizes or whole configurations on equal prompts, seeds, proposals and budgets.

    Start the same command again after a kill: what is finished is kept.
    """
    from core.errors import Interrupted
    from experiments.compare.plan import make_plan
    from experiments.compare.run import run_comparison
    from experiments.wiring import load_models

    plan = make_plan(
        home,
        configs,
        policies=_split(policies, str, "--policies"),
        batch_sizes=_split(batch_sizes, int, "--batch-sizes"),
        replicates=replicates,
        budget_renders=budget_renders,
        own_proposals=own_proposals,
    )
    name = run or f"compare-{configs[0].stem}"
    load = functools.partial(load_models, api_base=api_base)
    bar = Bar(1, quiet=quiet)
    try:
        found = run_comparison(home, name, plan, bar, load=load, jobs=jobs)
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted("interrupted; what is finished is kept: start the same command again") from None
    finally:
        bar.close()
    if json:
        emit(found)
    else:
        show_comparison(found)
        say(f"files: {home / name}/comparison.json; its runs: brushup runs --home {home / name}")


def _split(text: str, parse: Callable[[str], Level], flag: str) -> list[Level]:
    """Return the parts of a comma-separated flag.

    Raises:
        BadInput: a part cannot be read.
    """
    from core.errors import BadInput

    try:
        return [parse(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError:
        raise BadInput(f"{flag} is {text!r}; expected whole numbers separated by commas, e.g. 1,5,10") from None


def show_comparison(found: Mapping[str, Any]) -> None:
    """Print a comparison's tables on stdout."""
    from experiments.compare.tables import PAIRS

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    for table, title in TITLES.items():
        if found[table]:
            console.print(_levels(found, table, title))
            if found[PAIRS[table]]:
                console.print(_pairs(found[PAIRS[table]], scale_of(found["scorer"])))


def _levels(found: Mapping[str, Any], table: str, title: str) -> Table:
    scale, test = scale_of(found["scorer"]), found["test"]
    budget = f"{found['budget_renders']} pictures a loop, " if found["budget_renders"] else ""
    unit = found["scorer"] if scale == 1 else f"{found['scorer']} x {scale}"
    shown = Table(
        title=f"{budget}{found['replicates']} replicates; gain over naive on {test['prompts']} unseen prompts x "
        f"{test['seeds']} seeds each, {unit}",
        title_justify="left",
    )
    headings = (title, "gain", "95 % interval", "regret", "pictures to 90 %", "never", "pictures", "s", "USD")
    for heading in headings:
        shown.add_column(heading, justify="left" if heading == title else "right")
    for level, row in found[table].items():
        low, high = row["ci95"]
        shown.add_row(
            level,
            f"{scale * row['gain']:+.2f}",
            f"[{scale * low:+.2f}, {scale * high:+.2f}]",
            f"{scale * row['regret']:.2f}",
            f"{'>= ' if row['at_least'] else ''}{row['renders_to_90']:.0f}",
            f"{row['censored']} of {found['replicates']}",
            f"{row['renders']:.0f}",
            f"{row['seconds']:.0f}",
            "unknown" if row["usd"] is None else dollars(row["usd"]),
        )
    return shown


def _pairs(pairs: Sequence[Mapping[str, Any]], scale: int) -> Table:
    shown = Table(title="differences of gain, a - b; p: paired permutation over replicates, Holm", title_justify="left")
    for heading in ("a", "b", "a - b", "95 % interval", "p adjusted"):
        shown.add_column(heading, justify="left" if len(heading) == 1 else "right")
    for pair in pairs:
        low, high = pair["ci95"]
        shown.add_row(
            pair["a"],
            pair["b"],
            f"{scale * pair['difference']:+.2f}",
            f"[{scale * low:+.2f}, {scale * high:+.2f}]",
            f"{pair['p_adjusted']:.3f}",
        )
    return shown

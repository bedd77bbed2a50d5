"""`brushup simulate`: bandit policies side by side in synthetic worlds, without a picture or an LLM."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.options import HOME, Home, Json, Quiet
from cli.output import console, emit, say


def simulate(  # noqa: PLR0913 - one flag each
    null: Annotated[
        bool, typer.Option("--null", help="Worlds of equal arms: how often is one crowned falsely?")
    ] = False,
    worlds: Annotated[int, typer.Option(help="Worlds, each played by every policy.")] = 1000,
    arms: Annotated[int, typer.Option(help="Arms in each world.")] = 16,
    batch: Annotated[int, typer.Option(help="Blocks (pictures) a pull.")] = 1,
    blocks: Annotated[int, typer.Option(help="Most pictures a world.")] = 800,
    policies: Annotated[str, typer.Option(help="Names with commas between. Default: all.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the worlds.")] = 0,
    quiet: Quiet = False,
    home: Home = HOME,  # noqa: ARG001 - every command takes it
    json: Json = False,
) -> None:
    """Compare bandit policies in synthetic worlds: pictures until the right arm is known, with and without pairing."""
    from bandit import POLICIES
    from experiments.simulate import Plan, simulate, simulate_null

    chosen = tuple(name.strip() for name in policies.split(",")) if policies else tuple(POLICIES)
    plan = Plan(worlds=worlds, arms=arms, seed=seed, batch=batch, blocks=blocks, policies=chosen)
    started = time.monotonic()
    result = (simulate_null if null else simulate)(plan, _silent if quiet or json else say)
    if json:
        emit(result)
        return
    console.print(_false_crowns(result) if null else _renders(result))
    if null:
        say(f"racing promises at most {result['alpha']:.0%}; the t-test is repeated after every look, uncorrected")
    else:
        gains = ", ".join(
            f"{_times(column['uniform_gain_from_pairing']['ratio'])} at rho {rho}"
            for rho, column in result["rho"].items()
        )
        say(f"pairing alone, for uniform: {gains}")
    say(f"{worlds:,} worlds in {time.monotonic() - started:.0f} s; simulated, no evidence about any image model")


def _silent(text: str) -> None:
    """Say nothing."""


def _renders(result: Mapping[str, Any]) -> Table:
    title = f"pictures until the mean regret is {result['target']}, and how often fewer than uniform's"
    return _table(result, title, lambda row: f"{_count(row['renders_to_target'])}  {_times(row['ratio_to_uniform'])}")


def _false_crowns(result: Mapping[str, Any]) -> Table:
    title = f"equal arms: worlds with a false crown within {result['blocks']} pictures (by a repeated t-test)"
    return _table(result, title, lambda row: f"{row['false_crown_rate']:.1%}  ({row['repeated_t_test']:.0%})")


def _table(result: Mapping[str, Any], title: str, shown: Any) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("policy")
    for rho in result["rho"]:
        table.add_column(f"rho {rho}", justify="right")
    columns = [column["policies"] for column in result["rho"].values()]
    for name in columns[0]:
        table.add_row(name, *(shown(column[name]) for column in columns))
    return table


def _count(renders: float | None) -> str:
    return "not reached" if renders is None else f"{renders:.0f}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}x"

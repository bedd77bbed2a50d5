"""`brushup show`: one run in detail, also while another process works on it, or after that process died."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.options import HOME, Home, Json
from cli.output import console, emit, say, show_summary
from core.errors import BadInput
from experiments.verdict import scale_of

if TYPE_CHECKING:
    from experiments.details import ArmLine, RunDetails
    from experiments.folder import RunFolder

Watch = Annotated[bool, typer.Option("--watch", help="Follow the run's events until it ends; Ctrl-C leaves.")]


def show(
    name: Annotated[str, typer.Argument(help="Name of the run.")],
    watch: Watch = False,
    instruction: Annotated[str | None, typer.Option(help="Show this instruction's whole text; `all` for all.")] = None,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Show a run's instructions with their evidence, its failures, and its result once there is one."""
    from experiments.details import run_details
    from experiments.folder import existing_folder

    folder = existing_folder(home, name)
    if watch:
        try:
            _follow(folder)
        except KeyboardInterrupt:
            return
    details = run_details(folder)
    if json:
        emit(details.to_json())
    elif instruction is None:
        _show(details, folder)
    else:
        _show_texts(details, instruction)


def _follow(folder: "RunFolder") -> None:
    from experiments.status import follow

    for event in follow(folder):
        at = datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S")
        words = (f"round {event.round}" if event.round else "", event.node, event.work, event.detail)
        say("  ".join([at, *(word for word in words if word)]))


def _show_texts(details: "RunDetails", instruction: str) -> None:
    wanted = [arm for arm in details.arms if instruction in (arm.id, "all")]
    if not wanted:
        known = ", ".join(arm.id for arm in details.arms) or "none yet"
        raise BadInput(f"--instruction is {instruction!r}; expected one of run {details.name!r}: {known}, or all")
    for arm in wanted:
        say(f"{arm.id}" + (f", child of {arm.parent}" if arm.parent else "") + f" ({arm.origin}):\n{arm.text}\n")


def _show(details: "RunDetails", folder: "RunFolder") -> None:
    say(f"run {details.name}: {details.status}, {details.rounds} rounds" + _stopped(details.stop_reason))
    if details.arms:
        console.print(_table(details.arms, scale_of(details.scorer)))
        say(f"the texts: brushup show {details.name} --home {folder.home} --instruction all")
    if details.gradient:
        what = details.gradient["text"] or f"none ({details.gradient['error']})"
        say(f"textual gradient of round {details.gradient['round']}, for {details.gradient['arm']}: {what}")
    _show_renderer(details)
    for kind, count in details.failures.items():
        say(f"failed {count} x {kind}")
    if details.requests:
        faults = ", ".join(f"{count} x {how}" for how, count in details.requests.items() if how != "ok")
        say(
            f"{sum(details.requests.values())} requests to the LLM"
            + (f"; not answered well: {faults}" if faults else "")
        )
    if details.unknown_calls:
        kinds = sorted({f"{call['kind']} {call['charge_id']}" for call in details.unknown_calls})
        shown = ", ".join(kinds[:5]) + (", ..." if len(kinds) > 5 else "")
        say(f"{len(details.unknown_calls)} calls were in flight at a kill and count as spent: {shown}")
    if details.last_event:
        event = details.last_event
        say("last event: " + " ".join(word for word in (event.node, event.work, event.detail) if word))
    if details.status != "completed" and details.heartbeat_age is not None:
        say(f"last heartbeat {details.heartbeat_age:.0f} s ago, process {details.pid}")
    if details.status == "interrupted":
        say(f"go on with: brushup resume {details.name} --home {folder.home}")
    if details.summary:
        show_summary(details.summary)
        say(_spread(details.summary.get("variance_components"), scale_of(details.scorer)))


def _spread(parts: Mapping[str, float] | None, scale: float) -> str:
    """Say what the scores' spread is made of, and so what pairing is worth."""
    if not parts:
        return "the scores' spread is not known"
    names = {"arm": "instructions", "block": "prompts and seeds", "residual": "the rest"}
    spread = ", ".join(f"{name} {scale * math.sqrt(parts[key]):.2f}" for key, name in names.items())
    return (
        f"standard deviation of scores by {spread}; correlation on common blocks {parts['rho']:.2f}: "
        f"pairing divides the pictures needed by {1 / (1 - parts['rho']):.1f}"
    )


def _show_renderer(details: "RunDetails") -> None:
    for note in details.renderer:
        say(f"renderer: {note}")
    for item in details.unread:
        beyond = f"go beyond the {details.window} tokens read, as {item.sample()}"
        say(f"{item.arm}: {item.longer} of {item.prompts} prompts {beyond}")


def _stopped(reason: str | None) -> str:
    return f"; the loop stopped: {reason}" if reason else ""


def _table(arms: tuple["ArmLine", ...], scale: int) -> Table:
    """Return the instructions as a table, each under its parent."""
    table = Table()
    table.add_column("instruction", no_wrap=True)
    for heading in ("pulls", "blocks", "reward" if scale == 1 else f"reward x {scale}"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for depth, arm in _tree(arms):
        marks = [word for word in ("best", "finalist", "retired") if getattr(arm, word)]
        mean = "-" if arm.mean is None else f"{scale * arm.mean:+.2f}"
        table.add_row("  " * depth + arm.id, str(arm.pulls), str(arm.blocks), mean, ", ".join(marks))
    return table


def _tree(arms: tuple["ArmLine", ...]) -> list[tuple[int, "ArmLine"]]:
    """Order arms so that children follow their parent, with the depth of each."""
    known = {arm.id for arm in arms}
    children: dict[str, list[ArmLine]] = {}
    for arm in arms:
        children.setdefault(arm.parent if arm.parent in known else "", []).append(arm)
    lines, waiting = [], [(0, arm) for arm in reversed(children.get("", []))]
    while waiting:
        depth, arm = waiting.pop()
        lines.append((depth, arm))
        waiting += [(depth + 1, child) for child in reversed(children.get(arm.id, []))]
    return lines

"""`brushup runs`: which runs there are and how they stand."""

from dataclasses import asdict

from rich.table import Table

from cli.options import HOME, Home, Json
from cli.output import console, emit, say
from experiments.verdict import SCALE


def runs(home: Home = HOME, json: Json = False) -> None:
    """List the runs: completed, running or interrupted, and what each has found."""
    from experiments.status import list_runs

    found = list_runs(home)
    if json:
        emit([asdict(line) for line in found])
        return
    if not found:
        say(f"no runs in {home}; start one with: brushup optimize --home {home}")
        return
    table = Table()
    for heading in ("run", "status", "rounds", "best", f"best minus naive x {SCALE}", "pictures"):
        table.add_column(heading, justify="left" if heading in ("run", "status", "best") else "right")
    for line in found:
        gain = "-"
        if line.best_minus_naive is not None:
            low, high = line.best_minus_naive["ci95"]
            gain = f"{SCALE * line.best_minus_naive['mean']:+.2f} [{SCALE * low:+.2f}, {SCALE * high:+.2f}]"
        table.add_row(line.name, line.status, str(line.rounds), line.best or "-", gain, str(line.renders))
    console.print(table)
    for line in found:
        if line.problem:
            say(f"run {line.name}: {line.problem}")
        elif line.status == "interrupted":
            say(f"run {line.name}: go on with: brushup resume {line.name} --home {home}")

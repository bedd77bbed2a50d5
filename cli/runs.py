"""`brushup runs`: which runs there are and how they stand."""

from dataclasses import asdict

from rich.table import Table

from cli.options import HOME, Home, Json
from cli.output import console, emit, say
from experiments.verdict import scale_of


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
    for heading in ("run", "status", "rounds", "best", "best minus naive", "scorer", "pictures"):
        left = heading in ("run", "status", "best", "scorer")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "scorer")
    for line in found:
        gain, factor = "-", scale_of(line.scorer)
        if line.best_minus_naive is not None:
            low, high = line.best_minus_naive["ci95"]
            gain = f"{factor * line.best_minus_naive['mean']:+.2f} [{factor * low:+.2f}, {factor * high:+.2f}]"
        scorer = line.scorer if factor == 1 else f"{line.scorer} x {factor}"
        table.add_row(line.name, line.status, str(line.rounds), line.best or "-", gain, scorer, str(line.renders))
    console.print(table)
    for line in found:
        if line.problem:
            say(f"run {line.name}: {line.problem}")
        elif line.status == "interrupted":
            say(f"run {line.name}: go on with: brushup resume {line.name} --home {home}")

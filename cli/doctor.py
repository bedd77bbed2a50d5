"""`brushup doctor`: is everything there?"""

from dataclasses import asdict

import typer

from cli.options import HOME, Home, Json
from cli.output import emit, say


def doctor(home: Home = HOME, json: Json = False) -> None:
    """Check Python, the libraries, the embedded models, the home folder and the disk; exit 2 if something is wrong."""
    from experiments.doctor import diagnose

    checks = diagnose(home)
    fine = all(check.ok or not check.needed for check in checks)
    if json:
        emit({"ok": fine, "checks": [asdict(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            say(f"{'ok ' if check.ok else 'BAD'}  {check.name:{width}}  {check.detail}")
        say("all fine" if fine else "something is missing: see the lines marked BAD")
    if not fine:
        raise typer.Exit(2)

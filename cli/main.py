"""Entry point of `brushup`: the application, its commands, and the one place where errors become exit codes."""

import sys
import time
from typing import Any

STARTED = time.time()
"""When this process began to run brushup; the ledger counts startup seconds from here."""

from core.environment import set_switches  # noqa: E402

set_switches()

import typer  # noqa: E402

from cli.output import say  # noqa: E402
from core.errors import BrushupError  # noqa: E402

app = typer.Typer(
    name="brushup",
    help="Better pictures from text-to-image models by better prompts: found automatically, shown with evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register() -> None:
    """Add the commands to the application, once."""
    if app.registered_commands:
        return
    from cli import commands

    for name, function in commands().items():
        app.command(name)(function)
    from cli.cache import cache_app
    from cli.prompts import prompts_app
    from cli.study import study_app

    app.add_typer(prompts_app, name="prompts")
    app.add_typer(cache_app, name="cache")
    app.add_typer(study_app, name="study")


def main() -> None:
    """Run the command line; expected errors end in one line and their exit code, never in a traceback."""
    register()
    try:
        code = app(prog_name="brushup", standalone_mode=False)
    except BrushupError as error:
        say(f"brushup: {_one_line(str(error))}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        say("brushup: interrupted")
        sys.exit(130)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except typer.Abort:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - sorts out what a person can act on, raises the rest
        sys.exit(_usage_or_disk(error))
    sys.exit(code if isinstance(code, int) else 0)


def _usage_or_disk(error: Exception) -> int:
    """Turn a wrong flag or a refusing disk into one line; anything else is a bug and keeps its traceback."""
    import errno
    import sqlite3

    if callable(getattr(error, "format_message", None)):  # typer's usage errors have no public base class
        say(_usage(error))
        return 2
    full = isinstance(error, sqlite3.OperationalError) and any(
        word in str(error) for word in ("disk", "full", "readonly", "unable to open", "I/O")
    )
    if full or (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT}):
        say(f"brushup: the disk refuses: {_one_line(str(error))}; make room, then `brushup resume` the run")
        return 2
    raise error


def _usage(error: Any) -> str:
    """Return what is wrong with the flags in one line; the whole help when none were given."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "brushup"
    problems = getattr(error.__cause__, "errors", None)  # pydantic's, which know the value
    got = f" (got {str(problems()[0]['input'])[:60]!r})" if callable(problems) else ""
    return f"brushup: {_one_line(error.format_message()).rstrip('.')}{got}; see: {command} --help"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()

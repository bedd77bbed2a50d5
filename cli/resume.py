"""`brushup resume`: go on after a kill, Ctrl-C, a full disk or an exhausted budget."""

from typing import Annotated

import typer

from cli.optimize import finish
from cli.options import HOME, ApiBase, Home, Json, MaxLlmCalls, MaxRenders, Quiet


def resume(
    name: Annotated[str, typer.Argument(help="Name of the run.")],
    api_base: ApiBase = None,
    max_renders: MaxRenders = None,
    max_llm_calls: MaxLlmCalls = None,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Finish a run that was interrupted; it ends as if nothing had happened, and nothing is paid for twice."""
    from cli.main import STARTED
    from experiments.start import open_run

    opened = open_run(home, name, {"max_renders": max_renders, "max_llm_calls": max_llm_calls})
    finish(opened.folder, opened.config, quiet=quiet, json=json, began=STARTED, api_base=api_base, fresh=False)

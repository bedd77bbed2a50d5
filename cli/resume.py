"""`brushup resume`: go on after a kill, Ctrl-C, a full disk or an exhausted budget."""

from typing import Annotated

import typer

from cli.optimize import finish
from cli.options import (
    HOME,
    ApiBase,
    Home,
    Json,
    MaxLlmCalls,
    MaxLlmTokens,
    MaxRenders,
    MaxSeconds,
    MaxUsd,
    PriceIn,
    PriceOut,
    Quiet,
)


def resume(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    name: Annotated[str, typer.Argument(help="Name of the run.")],
    api_base: ApiBase = None,
    max_renders: MaxRenders = None,
    max_llm_calls: MaxLlmCalls = None,
    max_llm_tokens: MaxLlmTokens = None,
    max_usd: MaxUsd = None,
    max_seconds: MaxSeconds = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Finish a run that was interrupted; it ends as if nothing had happened, and nothing is paid for twice."""
    from cli.main import STARTED
    from experiments.start import open_run

    caps = {
        "max_renders": max_renders,
        "max_llm_calls": max_llm_calls,
        "max_llm_tokens": max_llm_tokens,
        "max_usd": max_usd,
        "max_seconds": max_seconds,
    }
    opened = open_run(home, name, caps, {"price_in": price_in, "price_out": price_out})
    finish(opened.folder, opened.config, quiet=quiet, json=json, began=STARTED, api_base=api_base, fresh=False)

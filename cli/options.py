"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option("--home", help="Folder of all runs, the prompt library and the cache.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
HOME = Path("runs")

MaxRenders = Annotated[int | None, typer.Option("--max-renders", help="Most pictures (cached ones count).")]
MaxLlmCalls = Annotated[int | None, typer.Option("--max-llm-calls", help="Most LLM calls (cached ones count).")]
MaxLlmTokens = Annotated[
    int | None, typer.Option("--max-llm-tokens", help="Most LLM tokens, sent and received (cached ones count).")
]
MaxUsd = Annotated[float | None, typer.Option("--max-usd", help="Most USD for the LLM; its price must be known.")]
MaxSeconds = Annotated[
    float | None, typer.Option("--max-seconds", help="Most wall seconds; may be overshot by the chunk in hand.")
]
PriceIn = Annotated[float | None, typer.Option("--price-in", help="Price of the LLM: USD per million tokens sent.")]
PriceOut = Annotated[
    float | None, typer.Option("--price-out", help="Price of the LLM: USD per million tokens received.")
]
ApiBase = Annotated[str | None, typer.Option("--api-base", help="OpenAI-compatible server; your key is sent there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]

"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path, typer.Option("--home", help="Folder of all runs, the prompt library and the cache.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
HOME = Path("runs")

MaxRenders = Annotated[int | None, typer.Option("--max-renders", help="Most pictures (cached ones count).")]
MaxLlmCalls = Annotated[int | None, typer.Option("--max-llm-calls", help="Most LLM calls (cached ones count).")]
ApiBase = Annotated[str | None, typer.Option("--api-base", help="OpenAI-compatible server; your key is sent there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the result.")]

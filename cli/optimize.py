"""`brushup optimize`: the main job."""

from pathlib import Path
from typing import Annotated, Any

import typer

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
from cli.output import Bar, emit, say, show_forecast, show_summary


def optimize(  # noqa: PLR0913 - one parameter a flag is how typer declares a command
    config: Annotated[Path | None, typer.Argument(help="TOML file; flags override it.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Name of the run.")] = None,
    prompts: Annotated[str | None, typer.Option(help="Your naive prompts: txt, csv, tsv, json, jsonl.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Blocks a pull.")] = None,
    policy: Annotated[str | None, typer.Option(help="Bandit policy: see brushup simulate.")] = None,
    reward: Annotated[str | None, typer.Option(help="paired or score.")] = None,
    reward_scale: Annotated[str | None, typer.Option(help="pooled-sd or none.")] = None,
    keep: Annotated[str | None, typer.Option(help="verbatim, content-words or off.")] = None,
    negative: Annotated[
        bool, typer.Option("--negative", help="Let instructions also write negative prompts, and optimise them.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    holdout_seed: Annotated[int | None, typer.Option(help="Chooses the held-out prompts.")] = None,
    llm: Annotated[str | None, typer.Option(help="offline/agents, openai/NAME or a litellm name.")] = None,
    api_base: ApiBase = None,
    free_llm_vram: Annotated[
        bool, typer.Option("--free-llm-vram", help="Unload the LLM (Ollama only) before pictures are drawn.")
    ] = False,
    renderer: Annotated[
        str | None, typer.Option(help="Folder or hub id of a diffusers pipeline, or a1111=URL, comfyui=URL.")
    ] = None,
    scorer: Annotated[str | None, typer.Option(help="Folder or NAME=FILE of a preference model.")] = None,
    watch_scorer: Annotated[
        list[str] | None, typer.Option(help="A scorer that only watches; may be given several times.")
    ] = None,
    instructions: Annotated[Path | None, typer.Option(help="Instructions that join the pool at the start.")] = None,
    from_run: Annotated[str | None, typer.Option("--from", help="Start from the best of another run.")] = None,
    max_renders: MaxRenders = None,
    max_llm_calls: MaxLlmCalls = None,
    max_llm_tokens: MaxLlmTokens = None,
    max_usd: MaxUsd = None,
    max_seconds: MaxSeconds = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it will cost: two probe pictures, no LLM call, no run.")
    ] = False,
    distill: Annotated[
        bool, typer.Option("--distill", help="At the end, put what was found into a small model: brushup distill.")
    ] = False,
    quiet: Quiet = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Find the instruction that makes your prompts better, and prove it on prompts it never saw."""
    from cli.main import STARTED
    from experiments.start import checked_config, start_run

    flags: dict[str, Any] = {
        "prompts": prompts,
        "rounds": rounds,
        "batch_size": batch_size,
        "policy": policy,
        "reward": reward,
        "reward_scale": reward_scale,
        "keep": keep,
        "negative": negative or None,
        "seed": seed,
        "holdout_seed": holdout_seed,
        "llm": llm,
        "api_base": api_base,
        "free_llm_vram": free_llm_vram or None,
        "renderer": renderer,
        "scorer": scorer,
        "watch_scorer": watch_scorer or None,
        "max_renders": max_renders,
        "max_llm_calls": max_llm_calls,
        "max_llm_tokens": max_llm_tokens,
        "max_usd": max_usd,
        "max_seconds": max_seconds,
        "price_in": price_in,
        "price_out": price_out,
    }
    if dry_run:
        planned = checked_config(home, config, flags, instructions=instructions, from_run=from_run)
        _show_plan(home, planned, api_base=api_base, json=json)
        return
    started = start_run(home, run, config, flags, instructions=instructions, from_run=from_run)
    said = {"quiet": quiet, "json": json, "distill": distill}
    finish(started.folder, started.config, **said, began=STARTED, api_base=api_base, fresh=True)


def _show_plan(home: Path, config: Any, *, api_base: str | None, json: bool) -> None:
    """Show what a run would take."""
    from experiments.dry_run import dry_run as forecast

    plan = forecast(home, config, api_base=api_base)
    if json:
        emit(plan)
    else:
        show_forecast(plan)


def finish(
    folder: Any,
    config: Any,
    *,
    quiet: bool,
    json: bool,
    began: float,
    api_base: str | None,
    fresh: bool,
    distill: bool = False,
) -> None:
    """Run to the end and show the result; say how to go on when the user stops it."""
    from core.errors import BadInput, BudgetReached, Interrupted
    from experiments.start import expected_renders, forget_if_untouched

    bar = Bar(expected_renders(config), quiet=quiet)
    try:
        bar.advance(0, 0, f"run {folder.name}: loading")

        from experiments.run import run as drive

        summary = drive(folder, config, bar, started=began, api_base=api_base)
        if distill:
            summary = {**summary, "distilled": _distilled(folder, bar)}
    except (Interrupted, KeyboardInterrupt):
        bar.close()
        raise Interrupted(f"interrupted; go on with: brushup resume {folder.name} --home {folder.home}") from None
    except (BadInput, BudgetReached) as error:
        if fresh:
            forget_if_untouched(folder)
        if isinstance(error, BudgetReached) and folder.path.exists():
            bar.close()
            raise BudgetReached(f"{error}, with: brushup resume {folder.name} --home {folder.home}") from None
        raise
    finally:
        bar.close()
    if json:
        emit(summary)
    else:
        show_summary(summary)
        say(f"files: {folder.path}/summary.json, instructions.json, contact_sheet.png, run.db")
        if distill:
            show_distilled(summary["distilled"])


def _distilled(folder: Any, bar: Bar) -> dict[str, Any]:
    """Distil a finished run; that it cannot be is no reason to lose the run's result."""
    from core.errors import BadInput
    from experiments.distill import distill as run

    try:
        return run(folder.home, [folder.name], bar)
    except BadInput as error:
        return {"error": str(error)}


def show_distilled(done: dict[str, Any]) -> None:
    """Print what became of distilling."""
    from cli.train import show_refiner

    if "error" in done:
        say(f"brushup: not distilled: {done['error']}")
    else:
        show_refiner(done, json=False)

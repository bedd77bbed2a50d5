"""What a run was run on and what it cost, as labelled facts for a person."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.interfaces import Renderer, Scorer
from core.text import stable_json
from experiments.config import RunConfig
from experiments.renderer_facts import stored_notes
from experiments.verdict import dollars
from prompt_db.run_store import RunStore

ORIGIN = "origin"
"""Name of the fact that says what a run was begun with."""

Facts = tuple[tuple[str, str], ...]


def note_origin(store: RunStore, renderer: Renderer, scorer: Scorer) -> None:
    """Store what a run is begun with, once; what determines its results is pinned by digests elsewhere."""
    if store.fact(ORIGIN) is None:
        begun = {"settings": dict(renderer.settings), "scorer": scorer.name}
        store.set_fact(ORIGIN, stable_json({**begun, "brushup": version("brushup")}))


def circumstances(store: RunStore, config: RunConfig) -> Facts:
    """Return where, with what and when a run was made; what an older run did not store is left out."""
    origin = json.loads(store.fact(ORIGIN) or "{}")
    render = origin.get("settings", {})
    run, counts = config.run, {split: len(store.prompts(split)) for split in ("train", "validation", "test")}
    size = f"{render['width']} × {render['height']}" if {"width", "height"} <= render.keys() else ""
    facts = [
        ("Renderer", _place(config.render.renderer) or "the miniworld's pipeline"),
        ("Picture", ", ".join(_known(size, render, "num_inference_steps", "steps"))),
        ("Device", ", ".join(str(render[key]) for key in ("device", "dtype") if key in render)),
        ("Scorer", origin.get("scorer") or _place(config.score.scorer) or "the miniworld's scorer"),
        ("Language model", config.agents.llm),
        ("Strategy", f"{config.bandit.policy}, reward {config.bandit.reward}"),
        ("Loop", f"{run.rounds} rounds of {config.pulls_per_round} pulls, batches of {run.batch_size}"),
        ("Prompts", ", ".join(f"{count} {split}" for split, count in counts.items())),
        ("Prompts from", _place(config.prompts.file) or "the miniworld"),
        ("Professional prompts", config.prompts.corpus or "the miniworld's corpus"),
        ("Seeds", f"run {run.seed}, held-out prompts {run.holdout_seed}"),
        ("Sessions", _sessions(store)),
        ("brushup", origin.get("brushup", "")),
        ("Notes", "; ".join(stored_notes(store))),
    ]
    return tuple((label, value) for label, value in facts if value)


def _place(source: str | None) -> str:
    """Return a source without the folders above it: a report is for sending, and folders name their owners."""
    return Path(source).name if source and Path(source).is_absolute() else source or ""


def _known(size: str, render: Mapping[str, Any], steps: str, word: str) -> list[str]:
    found = [size] if size else []
    if steps in render:
        found.append(f"{render[steps]} {word}")
    if "guidance_scale" in render:
        found.append(f"guidance {render['guidance_scale']:g}")
    return found


def _sessions(store: RunStore) -> str:
    rows = store.rows(
        "SELECT started, coalesce(ended, at, loop_started, started) AS until FROM session"
        " LEFT JOIN heartbeat ON heartbeat.session = session.id ORDER BY session.id"
    )
    if not rows:
        return ""
    first, last = (datetime.fromtimestamp(at, UTC) for at in (rows[0]["started"], rows[-1]["until"]))
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {until} UTC" + (f", {len(rows)} processes" if len(rows) > 1 else "")


def costs(ledger: Mapping[str, Any]) -> Facts:
    """Return a ledger's lines for a person; an unknown price is said to be unknown."""
    if not ledger:
        return ()
    return (
        ("Pictures", _counted(ledger["renders"], ledger["renders_cached"])),
        ("Scores", f"{ledger['scores']:,}"),
        ("LLM calls", _counted(ledger["llm_calls"], ledger["llm_calls_cached"])),
        ("LLM tokens", f"{ledger['prompt_tokens']:,} sent, {ledger['completion_tokens']:,} received"),
        ("USD", "unknown" if ledger["usd"] is None else dollars(ledger["usd"])),
        ("Seconds", f"{ledger['loop_seconds']:,.0f} in the loop, {ledger['startup_seconds']:,.0f} starting"),
        ("Busy seconds", ", ".join(f"{ledger[f'{kind}_seconds']:,.0f} {word}" for kind, word in _WORK.items())),
    )


_WORK = {"render": "drawing", "score": "scoring", "llm": "LLM"}


def _counted(count: int, cached: int) -> str:
    return f"{count:,}" + (f", {cached:,} of them from the cache" if cached else "")

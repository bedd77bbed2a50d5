"""What a run knows about its renderer: what it reads of prompts and settings, how many pictures it draws at once."""

import json
from collections.abc import Mapping
from typing import Any

from core.interfaces import Renderer
from experiments.config import RunConfig
from prompt_db.run_schema import RENDER_CHUNK, SMALLER_CHUNK
from prompt_db.run_store import RunStore

WINDOW = "render/window"
"""Fact: how many tokens of a prompt the renderer reads; absent when that is not known."""
NOTES = "render/notes"
"""Fact: the renderer's notes, a JSON list."""
_WARNING = "warning: "


def note_renderer(store: RunStore, config: RunConfig, renderer: Renderer) -> None:
    """Store what there is to know, and go on with the chunk that the run was left with when memory ran out."""
    store.set_fact(NOTES, json.dumps(renderer_notes(config, renderer), ensure_ascii=False))
    if renderer.window is not None:
        store.set_fact(WINDOW, str(renderer.window))
    smaller = store.fact(RENDER_CHUNK)
    if smaller:
        renderer.chunk = min(renderer.chunk, int(smaller))


def renderer_notes(config: RunConfig, renderer: Renderer) -> list[str]:
    """Return what a user should know before the first picture, one line each."""
    useless = config.agents.negative and not renderer.reads_negative
    return [*renderer.notes, *([f"{_WARNING}--negative has no effect with this renderer"] if useless else ())]


def stored_window(store: RunStore) -> int | None:
    """Return how many tokens of a prompt a run's renderer reads, None when that is not known."""
    found = store.fact(WINDOW)
    return int(found) if found else None


def stored_notes(store: RunStore) -> list[str]:
    """Return a run's notes about its renderer; none for a run of an earlier version."""
    return list(json.loads(store.fact(NOTES) or "[]"))


def smaller_chunks(store: RunStore) -> list[str]:
    """Return each time that memory ran out, in words."""
    return [row["detail"] for row in store.rows("SELECT detail FROM event WHERE node = ? ORDER BY id", [SMALLER_CHUNK])]


def renderer_warnings(store: RunStore) -> list[str]:
    """Return what should worry a user: settings that were not read, memory that ran out."""
    notes = [note.removeprefix(_WARNING) for note in stored_notes(store) if note.startswith(_WARNING)]
    return [*notes, *smaller_chunks(store)]


def renderer_summary(store: RunStore, renderer: Renderer) -> Mapping[str, Any]:
    """Return the summary's description of a renderer; `chunk` is what it ended with."""
    return {
        "name": renderer.name,
        "revision": renderer.revision,
        "settings": dict(renderer.settings),
        "chunk": renderer.chunk,
        "smaller_chunks": smaller_chunks(store),
        "window": renderer.window,
        "notes": stored_notes(store),
    }

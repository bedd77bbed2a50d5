"""What a run does and says when memory runs out, and when prompts are longer than what the text encoder reads."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import BrushupError
from core.progress import Silent
from core.records import RenderRequest, UnreadEnd
from experiments.config import RunConfig
from experiments.details import run_details
from experiments.folder import RunFolder
from experiments.refine import run_source
from experiments.run import run
from experiments.unread import Unread, unread_prompts, unread_warnings
from experiments.wiring import Models
from prompt_db.run_schema import RUN_MIGRATIONS
from prompt_db.run_store import RunStore
from prompt_db.schema import open_writable
from rendering.cache import ImageCache, render_key
from tests.fakes import FakeRenderer, fake_models
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow


@dataclass
class CrampedRenderer(FakeRenderer):
    """Runs out of memory above `most` pictures at once from its `after`-th call on; dies in its `dies`-th."""

    most: int = 99
    after: int = 0
    dies: int = 10**6
    calls: int = 0
    chunks: dict[RenderRequest, int] = field(default_factory=dict)

    def render(self, requests):
        self.calls += 1
        if self.calls == self.dies:
            raise BrushupError("the machine is gone")
        while self.calls > self.after and self.chunk > self.most:
            self.chunk //= 2
        self.chunks |= dict.fromkeys(requests, self.chunk)
        return [result for request in requests for result in super(CrampedRenderer, self).render([request])]


class Told(Silent):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def small(tmp: Path, **sections: Any) -> RunConfig:
    tmp.mkdir(exist_ok=True)
    evaluation = {"validation_prompts": 6, "test_prompts": 20, "test_seeds": 1, "top": 1}
    return stub_config(tmp, run={"rounds": 2, "batch_size": 5}, evaluation=evaluation, **sections)


def go(folder: RunFolder, config: RunConfig, renderer: FakeRenderer, progress: Silent | None = None) -> dict[str, Any]:
    models: Models = replace(fake_models(), renderer=renderer)
    return run(folder, config, progress or Silent(), started=time.time(), models=models)


def render_rows(folder: RunFolder) -> list[dict[str, Any]]:
    store = RunStore.reader(folder.database)
    try:
        return store.rows(
            "SELECT key, prompt, seed, unread, unread_tokens FROM render JOIN block ON block.id = block_id"
        )
    finally:
        store.close()


def test_a_halved_chunk_is_told_and_every_key_says_the_chunk_really_used(tmp_path: Path) -> None:
    config = small(tmp_path / "a")
    whole = go(stub_folder(tmp_path / "a", config), config, FakeRenderer())
    config, told = small(tmp_path / "b"), Told()
    folder, renderer = stub_folder(tmp_path / "b", config), CrampedRenderer(most=1, after=4)
    summary = go(folder, config, renderer, told)

    event = "out of memory at 4 pictures at once; 1 at once from now on"
    assert summary["renderer"]["smaller_chunks"] == [event]
    assert summary["renderer"]["chunk"] == 1
    assert summary["warnings"][0] == event
    assert f"warning: {event}" in told.notes
    assert event in run_details(folder).renderer
    assert summary["holdout"] == whole["holdout"], "the fake draws the same whatever the chunk"

    rows = render_rows(folder)
    assert {renderer.chunks[RenderRequest(row["prompt"], row["seed"])] for row in rows} == {1, 4}
    images = ImageCache(folder.cache(config.storage.cache) / "images")
    for row in rows:
        request = RenderRequest(row["prompt"], row["seed"])
        assert row["key"] == render_key(FakeRenderer(chunk=renderer.chunks[request]), request)
        assert images.get(row["key"]) is not None


def test_a_resumed_run_goes_on_with_the_halved_chunk(tmp_path: Path) -> None:
    config = small(tmp_path)
    folder = stub_folder(tmp_path, config)
    with pytest.raises(BrushupError, match="the machine is gone"):
        go(folder, config, CrampedRenderer(most=2, after=3, dies=8))
    fresh = CrampedRenderer()
    summary = go(folder, config, fresh)
    assert set(fresh.chunks.values()) == {2}
    assert summary["renderer"]["chunk"] == 2
    assert summary["renderer"]["smaller_chunks"] == ["out of memory at 4 pictures at once; 2 at once from now on"]


def test_prompts_beyond_the_window_are_stored_told_and_shown(tmp_path: Path) -> None:
    config = small(tmp_path)
    folder, renderer = stub_folder(tmp_path, config), FakeRenderer(window=6)
    summary = go(folder, config, renderer)
    rows = render_rows(folder)
    assert all(UnreadEnd(row["unread"], row["unread_tokens"]) == renderer.unread(row["prompt"]) for row in rows)
    longer = [item for item in summary["unread"] if item["arm"] == summary["best_instruction"]["id"]]
    [warning] = [text for text in summary["warnings"] if "refined prompts" in text]
    [item] = longer
    assert item["example"] in {row["unread"] for row in rows}
    assert len(item["example"]) <= max(len(row["unread"]) for row in rows)
    assert item["example"] != ""
    assert warning.startswith(
        f"{item['arm']}: {item['longer']} of {item['prompts']} refined prompts are longer than the 6 tokens that the "
        "text encoder reads; unread e.g. "
    )
    details = run_details(folder)
    assert details.window == summary["renderer"]["window"] == 6
    assert [found.arm for found in details.unread] == [found["arm"] for found in summary["unread"]]


def test_brushup_refine_tells_the_generator_the_same_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(tmp_path)
    go(stub_folder(tmp_path, config), config, FakeRenderer(window=40))
    asked = []
    monkeypatch.setattr(
        "experiments.refine.refiner_factory",
        lambda chat, templates, settings, exemplars: asked.append(settings.window) or (lambda arm: Echo()),
    )
    with run_source(tmp_path / "runs", "one") as source:
        source.ask(["a cat"])
    assert asked == [40]


class Echo:
    async def refine(self, prompts, *, seed):
        from core.records import Refinement

        return [Refinement(text, text) for text in prompts]


def test_a_useless_negative_is_told_before_the_first_picture(tmp_path: Path) -> None:
    config, told = small(tmp_path, agents={"negative": True}), Told()
    notes = ("draws on a fake",)
    summary = go(stub_folder(tmp_path, config), config, FakeRenderer(reads_negative=False, notes=notes), told)
    assert told.notes[1:3] == ["draws on a fake", "warning: --negative has no effect with this renderer"]
    assert summary["renderer"]["notes"] == told.notes[1:3]
    assert summary["warnings"][0] == "--negative has no effect with this renderer"


def test_runs_of_an_earlier_version_have_nothing_unread(tmp_path: Path) -> None:
    open_writable(tmp_path / "run.db", RUN_MIGRATIONS[:4]).close()
    assert unread_prompts(RunStore.reader(tmp_path / "run.db")) == []


def test_warnings_name_the_users_prompts_and_the_best_instruction_first() -> None:
    found = [
        Unread("r1c1", 10, 9, "far away", 2),
        Unread("r2c1", 10, 1, "x" * 99, 40),
        Unread("naive", 4, 2, "very", 1),
    ]
    assert unread_warnings(found, 75, "r2c1") == [
        "your own: 2 of 4 prompts are longer than the 75 tokens that the text encoder reads; unread e.g. 'very' "
        "(1 token)",
        "r2c1: 1 of 10 refined prompts is longer than the 75 tokens that the text encoder reads; unread e.g. "
        f"'{'x' * 60}...' (40 tokens); 1 other instruction has some too",
    ]
    assert unread_warnings(found[:1], 75, "r2c1")[0].startswith("r1c1: 9 of 10 refined prompts are longer")
    assert unread_warnings([], 75, "r2c1") == []

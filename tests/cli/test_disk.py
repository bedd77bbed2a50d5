"""A disk that is full: one line, nothing half-written, and the run goes on once there is room."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prompt_db.run_store import RunStore
from rendering.cache import ImageCache
from tests.cli.conftest import Brushup, snapshot, write_toml

pytestmark = pytest.mark.slow


def after(calls: int, original: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """Return a function that works so many times and then raises."""
    left = [calls]

    def call(*args: Any, **keywords: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return original(*args, **keywords)

    return call


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
FULL = sqlite3.OperationalError("database or disk is full")


def test_full_at_the_start_leaves_nothing(
    brushup: Brushup, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_toml(tmp_path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(os, "fsync", after(0, os.fsync, NO_SPACE))
    brushup("optimize", config, "--run", "one", "--home", tmp_path / "runs").refused(
        "cannot write to", "No space left", "choose another --home"
    )
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("owner", "method", "calls", "error"),
    [
        (RunStore, "append", 0, FULL),
        (RunStore, "append", 40, FULL),
        (RunStore, "upsert", 60, FULL),
        (ImageCache, "put_many", 3, NO_SPACE),
    ],
    ids=["first row", "event", "fact", "picture"],
)
def test_full_while_running_loses_nothing(
    brushup: Brushup,
    models,
    tmp_path: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    calls: int,
    error: Exception,
) -> None:
    config, home = write_toml(tmp_path), tmp_path / "runs"
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, after(calls, getattr(owner, method), error))
        done = brushup("optimize", config, "--run", "one", "--home", home, "--quiet")
    done.refused("the disk refuses", "make room", "brushup resume")
    assert brushup("resume", "one", "--home", home, "--quiet").code == 0
    whole = finished / "runs" / "one" / "instructions.json"
    assert (home / "one" / "instructions.json").read_bytes() == whole.read_bytes()


def test_full_while_the_results_are_written_keeps_no_half_file(
    brushup: Brushup, models, warm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(warm / "one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", after(0, os.fsync, NO_SPACE))
        brushup("resume", "one", "--home", warm, "--quiet").refused("the disk refuses")
    names = {"instructions.json", "summary.json"}
    assert {k: v for k, v in snapshot(warm / "one").items() if k in names} == {k: before[k] for k in names}
    assert set(snapshot(warm / "one")) <= set(before) | {"checkpoints.db"}


def test_full_while_exporting_keeps_the_old_file(brushup: Brushup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = home.parent / "tuned.json"
    target.write_text("the old one")
    before = snapshot(home.parent)
    monkeypatch.setattr(os, "fsync", after(0, os.fsync, NO_SPACE))
    brushup("export", "one", "--home", home, "-o", target).refused("cannot write", "No space left", "--output")
    assert snapshot(home.parent) == before


def test_full_while_importing_imports_nothing(
    brushup: Brushup, home: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prompt_db.library import Library

    before = brushup("prompts", "stats", "--home", home, "--json").json
    monkeypatch.setattr(Library, "_store", after(0, Library._store, FULL))
    done = brushup("prompts", "import", finished / "prompts.txt", "--home", home)
    done.refused("cannot import into", "disk is full", "nothing was imported")
    monkeypatch.undo()
    assert Library(home / "prompts.db").stats()[0].rows == before[0]["rows"]

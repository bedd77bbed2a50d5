"""The frame that every training stage runs in: its folder, its seed, its timing, its resumption.

A stage is a function of a ``Workspace``. It writes its results under the workspace and is recorded in ``stages.json``
when it ends, with the wall seconds it took over all its attempts; a recorded stage is skipped. Long stages write a
checkpoint every couple of minutes and go on from it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger("miniworld.train")

SEED = 20
"""Every stage derives its random numbers from this seed and its own name."""
CHECKPOINT_SECONDS = 120.0
_CLOCK_SECONDS = 10.0
"""How often a running stage notes its time: a kill loses at most this much of it."""


@dataclass(frozen=True)
class Workspace:
    """The ignored folder with training data and checkpoints.

    Attributes:
        root: Its path.
        shrink: Divides every amount of work (samples, steps); 1 for the shipped weights, large for a smoke run.
    """

    root: Path
    shrink: int = 1

    def path(self, name: str) -> Path:
        """A path in the workspace; parent folders are made."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def amount(self, full: int, *, least: int = 1) -> int:
        """``full`` divided by the shrink factor, at least ``least``."""
        return max(least, full // self.shrink)

    def shipped(self, path: Path) -> Path:
        """Where a shipped file or folder goes: its place in the package, or the workspace in a shrunken run."""
        return path if self.shrink == 1 else self.path(f"shipped/{path.name}")

    def seed(self, stage: str) -> int:
        """The seed of a stage."""
        return SEED * 1000 + sum(stage.encode()) % 1000

    def record(self) -> dict[str, Any]:
        """What finished stages have reported."""
        file = self.path("stages.json")
        return dict(json.loads(file.read_text())) if file.exists() else {}


Stage = Callable[[Workspace], dict[str, Any]]
"""Does the work and returns figures for the card."""


def run_stage(name: str, stage: Stage, space: Workspace) -> None:
    """Run a stage unless it is recorded as done; wall seconds of interrupted attempts are added up."""
    if name in space.record():
        log.info("%s: done already", name)
        return
    log.info("%s: starts", name)
    with _wall_clock(space, name) as spent:
        figures = stage(space)
    record = space.record()
    record[name] = {"seconds": round(spent(), 1), **figures}
    write_json(space.path("stages.json"), record)
    log.info("%s: done in %.0f s %s", name, record[name]["seconds"], figures)


@contextmanager
def _wall_clock(space: Workspace, name: str) -> Iterator[Callable[[], float]]:
    """Count a stage's seconds over all attempts, in a file that is brought up to date while it runs."""
    file = space.path(f"clock/{name}.json")
    before = float(json.loads(file.read_text())) if file.exists() else 0.0
    start = time.monotonic()
    ended = threading.Event()

    def spent() -> float:
        return before + time.monotonic() - start

    def note() -> None:
        while not ended.wait(_CLOCK_SECONDS):
            write_json(file, spent())

    thread = threading.Thread(target=note, daemon=True)
    thread.start()
    try:
        yield spent
    finally:
        ended.set()
        thread.join()
        write_json(file, spent())


def write_json(path: Path, content: object) -> None:
    """Write JSON so that a reader sees the old or the new file, never half of one."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values atomically."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read what ``save_checkpoint`` wrote, or None when there is nothing."""
    return dict(torch.load(path, weights_only=True)) if path.exists() else None


class replacing:  # noqa: N801 - reads like a function
    """A context manager: a temporary folder that takes the target's place at the end."""

    def __init__(self, target: Path) -> None:
        """Remember the target.

        Args:
            target: The folder to replace.
        """
        self._target = target
        self._fresh = target.with_name(f".{target.name}.partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._fresh.mkdir(parents=True)
        return self._fresh

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            shutil.rmtree(self._target, ignore_errors=True)
            self._fresh.rename(self._target)


def need_checkpoint(space: Workspace, name: str) -> dict[str, Any]:
    """Read ``NAME.pt``, which the stage of that name wrote.

    Raises:
        FileNotFoundError: It has not run yet.
    """
    state = load_checkpoint(space.path(f"{name}.pt"))
    if state is None:
        raise FileNotFoundError(f"no {name} checkpoint: run the stage {name!r} first")
    return state


class Pulse:
    """Tells a loop when it is time to write a checkpoint."""

    def __init__(self, seconds: float = CHECKPOINT_SECONDS) -> None:
        """Start counting.

        Args:
            seconds: Wall time between two beats.
        """
        self._seconds = seconds
        self._last = time.monotonic()

    def beat(self) -> bool:
        """True when the time is up, at most once per period."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True

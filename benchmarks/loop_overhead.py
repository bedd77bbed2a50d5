"""How much longer the loop takes than the work that it cannot avoid.

    python benchmarks/loop_overhead.py --json      # {"overhead": {"0.05": r, "0.5": r, "2.0": r}, "cpu_bound": {...}}

A whole run through the real graph with the real stores (facts, ledger, checkpoints, caches, PNG files). Only the models
are stubs with fixed costs, so that the machine's noise does not decide:

- LLM: `asyncio.sleep(latency)` behind the same gate as a real one, then a canned reply that is always usable;
- renderer: 2 s a chunk of 8 pictures of 512 x 512 (0.25 s each): between SD-Turbo and SD 1.5 with 20 steps on a fast
  consumer GPU. SDXL and FLUX take ten times that, and hide the loop's own work better;
- scorer: 0.5 s a chunk of 32, as a ViT-H-14 on that GPU.

All else costs what it costs: PNG files, SQLite, checkpoints, the bandit. On a busy machine that work waits for a core:
take the best of several runs (`--repeat`), or look at `cpu_bound`: the ratio when the loop's own CPU seconds are added
to the unavoidable ones, which is what it can be at most on an idle machine.

*Unavoidable* is a sum over the units of work in their order, because a unit's choice needs the results of those before:

- LLM calls of one fan-out: ceil(calls / concurrency) x latency, for the calls that are not answered yet;
- an expansion: two calls, one after the other (gradient, then modifier);
- pictures not drawn yet: ceil(pictures / chunk) x seconds a chunk; scores alike.

Inside a unit, LLM calls, rendering and scoring follow each other. A loop that overlapped them could be under 1.
"""

import argparse
import asyncio
import json
import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.environment import set_switches

set_switches()

import numpy as np
from PIL import Image

from agents import messages
from agents.limits import Gate, Limits
from core.progress import Silent
from core.records import NAIVE, ChatRequest, Completion, RenderRequest, RenderResult, Score, ScoreItem, UnreadEnd
from core.seeding import derive_seed
from experiments.config import RunConfig, parse_config
from experiments.folder import RunFolder, create_folder
from experiments.run import run
from experiments.wiring import Models
from graph.blocks import train_batch
from prompt_db.ledger import totals
from prompt_db.run_store import RunStore

LATENCIES = (0.05, 0.5, 2.0)
RENDER_CHUNK, RENDER_SECONDS = 8, 2.0
SCORE_CHUNK, SCORE_SECONDS = 32, 0.5
SIZE = 512
CONCURRENCY = 8
GOAL = 1.10
RATIOS = ("overhead", "cpu_bound")


class CannedChat:
    """Answers after `latency` seconds, `CONCURRENCY` calls at a time; its replies are functions of the request."""

    name = "openai/canned"

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._gate = Gate(Limits(CONCURRENCY))

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer; see ChatModel."""
        async with self._gate.slot(0):
            await asyncio.sleep(self._latency)
        parts = messages.sections(request.messages[0].content)
        number = derive_seed("canned", request.replicate, parts.get("prompt", ""))
        reply: dict[str, Any]
        if "prompt" in parts:
            reply = {"prompt": f"{parts['prompt']}, light {number % 7}, detail {number % 11}"}
        elif "results" in parts:
            reply = {"gradient": f"light {number % 7} helps"}
        else:
            reply = {"instructions": [f"Add light {number} to the prompt.", f"Add detail {number} to the prompt."]}
        return Completion(json.dumps(reply), 500, 60, usd=0.0)


@dataclass
class SleepingRenderer:
    """Takes `seconds` a chunk; a smooth picture with grain compresses about as badly as a photo.

    `drawing` counts CPU seconds, which are no work of the loop.
    """

    size: int = SIZE
    seconds: float = RENDER_SECONDS
    drawing: float = 0.0
    name: str = "sleeping"
    revision: str = "1"
    chunk: int = RENDER_CHUNK
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reads_negative: bool = True
    window: int | None = None

    def unread(self, prompt: str) -> UnreadEnd:  # noqa: ARG002 - the shape of Renderer
        """Read every prompt to its end."""
        return UnreadEnd()

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Draw; see Renderer."""
        until, used = time.monotonic() + self.seconds, time.thread_time()
        results = [RenderResult(self._draw(request)) for request in requests]
        self.drawing += time.thread_time() - used
        time.sleep(max(0.0, until - time.monotonic()))
        return results

    def _draw(self, request: RenderRequest) -> Image.Image:
        rng = np.random.default_rng(derive_seed(request.prompt, request.seed))
        small = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((self.size, self.size), Image.Resampling.BICUBIC), dtype=np.int16)
        grain = rng.integers(-3, 4, smooth.shape, dtype=np.int16)
        return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


@dataclass
class SleepingScorer:
    """Takes `seconds` a chunk and reads its score off one pixel."""

    seconds: float = SCORE_SECONDS
    name: str = "sleeping-scorer"
    revision: str = "1"
    chunk: int = SCORE_CHUNK

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Score; see Scorer."""
        time.sleep(self.seconds)
        return [Score(0.25 + item.image.getpixel((0, 0))[0] / 25500) for item in items]  # type: ignore[index]


class Meter(Silent):
    """Counts the CPU seconds of the loop, from its first sign of life to its last."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def note(self, text: str) -> None:  # noqa: ARG002 - the shape of Progress
        """Begin to count."""
        self.first = self.first or time.process_time()

    def advance(self, done: int, total: int, doing: str) -> None:  # noqa: ARG002
        """Count."""
        self.last = time.process_time()


@dataclass(frozen=True)
class Measured:
    """One run. All in seconds, but `overhead`: loop over unavoidable, and its bound by `cpu`."""

    loop: float
    cpu: float
    unavoidable: float
    llm: float
    render: float
    score: float

    @property
    def overhead(self) -> float:
        """The ratio that this benchmark is about."""
        return self.loop / self.unavoidable

    @property
    def cpu_bound(self) -> float:
        """The most that the ratio can be where no other process wants the cores and the disk is quick."""
        return 1 + self.cpu / self.unavoidable


def measure(
    home: Path,
    latency: float,
    *,
    renderer: SleepingRenderer | None = None,
    scorer: SleepingScorer | None = None,
    sections: Mapping[str, dict[str, Any]] | None = None,
) -> Measured:
    """Run the loop once in a fresh home and compare its seconds with the unavoidable ones.

    Args:
        home: an empty folder.
        latency: seconds of one LLM call.
        renderer: another renderer than the default.
        scorer: another scorer.
        sections: changes to the run's configuration.
    """
    config = _config(home, sections or {})
    folder = create_folder(home, "bench", config.model_dump(mode="json"))
    renderer, scorer = renderer or SleepingRenderer(), scorer or SleepingScorer()
    models = Models(CannedChat(latency), renderer, scorer)
    meter = Meter()
    run(folder, config, meter, started=time.time(), models=models)
    return _compare(folder, config, latency, renderer, scorer, meter.last - meter.first - renderer.drawing)


def _config(home: Path, changes: Mapping[str, dict[str, Any]]) -> RunConfig:
    prompts = home / "prompts.txt"
    words = "cat house car fish tree boat robot castle".split(), "red blue green yellow black white".split()
    lines = [f"a {colour} {thing}, view {k}" for k in range(3) for thing in words[0] for colour in words[1]]
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    raw: dict[str, dict[str, Any]] = {
        "run": {"rounds": 2, "batch_size": 8, "pulls_per_round": 4},
        "evaluation": {"validation_prompts": 16, "test_prompts": 24, "test_seeds": 1},
        "prompts": {"file": str(prompts)},
        "agents": {"llm": CannedChat.name, "concurrency": CONCURRENCY},
    }
    for section, values in changes.items():
        raw.setdefault(section, {}).update(values)
    return parse_config(raw, source="the benchmark")


def _compare(
    folder: RunFolder, config: RunConfig, latency: float, renderer: SleepingRenderer, scorer: SleepingScorer, cpu: float
) -> Measured:
    store = RunStore.reader(folder.database)
    try:
        units = list(_units(store, config))
        loop = float(totals(store)["loop_seconds"])
        expansions = store.rows("SELECT count(*) AS n FROM gradient")[0]["n"]
    finally:
        store.close()
    calls = sum(math.ceil(len(unit.refined) / config.agents.concurrency) for unit in units)
    llm = latency * (calls + 2 * expansions)
    render = renderer.seconds * sum(math.ceil(unit.pictures / renderer.chunk) for unit in units)
    score = scorer.seconds * sum(math.ceil(unit.pictures / scorer.chunk) for unit in units)
    return Measured(loop, cpu, llm + render + score, llm, render, score)


@dataclass(frozen=True)
class Unit:
    """What one unit of work had to do that none before had done: refinements by key, and pictures."""

    refined: frozenset[tuple[str, str, int]]
    pictures: int


def _units(store: RunStore, config: RunConfig) -> Iterator[Unit]:
    """Yield the run's units in their order, from its facts."""
    train, known = store.prompts("train"), store.all_blocks()
    work = [
        (
            {row["arm"], NAIVE},
            train_batch(train, row["batch"], size=config.run.batch_size, seed=config.run.seed),
        )
        for row in store.rows("SELECT arm, batch FROM pull ORDER BY round, k")
    ]
    for node, split in (("validate", "validation"), ("test", "test")):
        blocks = [block for block in known.values() if block.split == split]
        arms = store.rows("SELECT DISTINCT work FROM event WHERE node = ? ORDER BY id", [node])
        work += [({row["work"].partition("/")[2]}, blocks) for row in arms]
    refined: set[tuple[str, str, int]] = set()
    drawn: set[tuple[str, str]] = {
        (row["arm"], row["block_id"]) for row in store.rows("SELECT arm, block_id FROM render WHERE cached = 1")
    }
    for arms_, blocks in work:
        keys = {(arm, b.prompt_id, b.replicate) for arm in arms_ - {NAIVE} for b in blocks} - refined
        pairs = {(arm, block.id) for arm in arms_ for block in blocks} - drawn
        refined |= keys
        drawn |= pairs
        yield Unit(frozenset(keys), len(pairs))


def _runs(latency: float, count: int) -> Iterator[Measured]:
    for _ in range(count):
        with tempfile.TemporaryDirectory() as home:
            yield measure(Path(home), latency)


def main() -> None:
    """Measure at each latency; JSON or a table on stdout."""
    parser = argparse.ArgumentParser(description="Loop seconds over unavoidable seconds, by LLM latency.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--latency", type=float, action="append", help="seconds; may be given several times")
    parser.add_argument("--repeat", type=int, default=1, help="runs a latency; the best one counts")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    measured: dict[str, Measured] = {}
    for latency in arguments.latency or LATENCIES:
        measured[str(latency)] = min(_runs(latency, arguments.repeat), key=lambda run_: run_.overhead)
    if arguments.json:
        ratios = {key: {name: round(getattr(m, key), 3) for name, m in measured.items()} for key in RATIOS}
        print(json.dumps(ratios))
        return
    print("latency  loop s  unavoidable s (LLM + render + score)  overhead  by its CPU seconds alone")
    for name, m in measured.items():
        parts = f"{m.llm:.1f} + {m.render:.1f} + {m.score:.1f}"
        print(
            f"{name:>7}  {m.loop:6.1f}  {m.unavoidable:6.1f} ({parts:<21})         {m.overhead:.3f}  {m.cpu_bound:.3f}"
        )
    print(f"goal: at most {GOAL:.2f}")


if __name__ == "__main__":
    main()

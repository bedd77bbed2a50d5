"""The bench of an evaluation: answers, pictures and scores of one row after another, all kept in the home's cache."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import miniworld
from core.errors import BadInput
from core.interfaces import Renderer, Scorer
from core.progress import Progress
from core.records import RenderRequest
from core.seeding import derive_seed
from core.text import digest
from experiments.answers import Row as Answer
from experiments.drawing import Drawing, open_drawing
from experiments.folder import alone_in, contents_of, read_json, write_json
from experiments.suites.answering import answered
from experiments.suites.config import SuiteConfig
from experiments.suites.rows import Row
from experiments.suites.sheets import Shown
from experiments.suites.sources import Tools
from experiments.suites.table import Case, Outcome
from experiments.suites.world import WORLD_SCORERS, style_of
from prompt_db.caps import Caps

RENDERERS = {"miniworld": miniworld.PIPELINE, "miniworld:second": miniworld.SECOND_PIPELINE}
Answers = tuple[list[Answer], str, dict[str, float]]
"""Of a row: its answers, its label, and what an answer cost."""
_SLICE = 8
"""Chunks that are drawn between two signs of life."""


@dataclass(frozen=True)
class Order:
    """What a user asked for beside the suite.

    Attributes:
        suite: the suite's name.
        name: of the evaluation's folder, below `HOME/evaluations`.
        rows: names of rows; none = all of the suite.
        run: a completed run, for its best instruction.
        split: `test`, or `validation` for tuning.
        prompts: a file of naive prompts instead of the miniworld's; for HPSv2's benchmark, its folder.
        column: its column with the prompts.
        renderers: instead of the suite's.
        llm: another language model.
        api_base: its address.
        caps: limits.
    """

    suite: str
    name: str
    rows: Sequence[str] = ()
    run: str | None = None
    split: str = "test"
    prompts: Path | None = None
    column: str | None = None
    renderers: Sequence[str] = ()
    llm: str | None = None
    api_base: str | None = None
    caps: Caps = field(default_factory=Caps)


@dataclass
class Bench:
    """An evaluation at work.

    Attributes:
        config: the suite.
        home: folder of all runs.
        folder: the evaluation's.
        tools: what rows are opened with.
        table: draws and scores.
        scorers: all of them, the optimised one first.
        progress: told what happens.
        expected: pictures.
        done: pictures so far.
    """

    config: SuiteConfig
    home: Path
    folder: Path
    tools: Tools
    table: Drawing
    scorers: Sequence[Scorer]
    progress: Progress
    expected: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def show(self, row: Row, cases: Sequence[Case], found: Answers) -> Shown:
        """Draw and score a row's answers to the prompts of cases."""
        prompts, (answers, label, cost) = [case.prompt for case in cases], found
        pictures = self.pictures(prompts, answers, row.name)
        outcome = Outcome(
            name=row.name,
            against=row.against,
            label=label,
            cases=cases,
            refined=[answer["refined"] for answer in answers],
            errors=[answer["error"] for answer in answers],
            scores=self.scores(prompts, pictures),
            cost=cost,
        )
        return Shown(outcome, pictures)

    def answers(self, row: Row, prompts: Sequence[str]) -> Answers:
        """Return a row's answers, its label, and what an answer cost.

        Raises:
            BadInput: whoever answers cannot be used.
        """

        def tell(count: int) -> None:
            self.progress.advance(self.done, self.expected, f"{row.name}: {count} of {len(prompts)} prompts refined")

        with row.open(self.tools) as answering:
            found, cost = answered(self.home / "evaluations" / "answers", answering, prompts, tell)
            return found, answering.source.label, cost

    def pictures(self, prompts: Sequence[str], answers: Sequence[Answer], doing: str) -> list[list[Path | None]]:
        """Draw each answer on the seeds of its naive prompt, which are the same for every row."""
        seeds = self.config.seeds
        wanted = [
            RenderRequest(answer["refined"], picture_seed(self.config.seed, prompt, k), answer["negative"])
            for prompt, answer in zip(prompts, answers, strict=True)
            if answer["refined"]
            for k in range(seeds)
        ]
        files: list[Path | None] = []
        size = _SLICE * self.table.renderer.chunk
        for start in range(0, len(wanted), size):
            files += self.table.draw(wanted[start : start + size])
            self._tell(min(size, len(wanted) - start), doing)
        drawn = iter(files)
        return [[next(drawn) if answer["refined"] else None for _ in range(seeds)] for answer in answers]

    def scores(self, prompts: Sequence[str], pictures: Sequence[Sequence[Path | None]]) -> dict[str, Any]:
        """Return by scorer each prompt's scores, one a seed."""
        files = [file for row in pictures for file in row]
        texts = [prompt for prompt, row in zip(prompts, pictures, strict=True) for _ in row]
        found = {}
        for scorer in self.scorers:
            values = iter(self.table.score(scorer, files, texts))
            found[scorer.name] = [[next(values) for _ in row] for row in pictures]
        return found

    def _tell(self, count: int, doing: str) -> None:
        self.done += count
        left = ""
        if self.table.drawn:  # the pictures to come may be in the cache
            each = (time.monotonic() - self.began) / self.table.drawn
            left = f"; at most about {each * max(0, self.expected - self.done) / 60:.0f} min left"
        self.progress.advance(self.done, self.expected, f"{doing}{left}")


def picture_seed(seed: int, prompt: str, k: int) -> int:
    """Return a picture's diffusion seed: a function of suite, naive prompt and k, never one of a training's."""
    return derive_seed("evaluation-picture", seed, prompt, k)


@contextmanager
def open_bench(
    home: Path, config: SuiteConfig, order: Order, rows: Sequence[Row], cases: Sequence[Case], progress: Progress
) -> Iterator[Bench]:
    """Yield the bench of an evaluation; judge and truth score too where every prompt names a scene of the miniworld.

    Raises:
        BadInput: a model cannot be loaded, or the evaluation's folder is not free.
    """
    folder = home / "evaluations" / order.name
    with alone_in(folder, "--name"):
        claim(folder, config, order)
        with open_drawing(home, folder / "ledger.db", lambda: load_models(config), order.caps) as table:
            of_world = all(style_of(case.prompt) for case in cases)
            tools = Tools(
                home, config, order.run, order.llm, order.api_base, table.cache, table.ledger, table.renderer.window
            )
            scorers = [*table.scorers, *(WORLD_SCORERS if of_world else ())]
            expected = config.seeds * sum(len(row.cases or cases) for row in rows)
            yield Bench(config, home, folder, tools, table, scorers, progress, expected)


def claim(folder: Path, config: SuiteConfig, order: Order) -> None:
    """Note in an evaluation's folder what it is of; its ledger and its files are of one evaluation.

    Raises:
        BadInput: the folder is of another evaluation.
    """
    asked = {key: value for key, value in asdict(order).items() if key not in ("name", "caps")}
    read = contents_of(order.prompts) if order.prompts else ""
    found = digest(json.loads(json.dumps([asdict(config), asked, read], default=str)))
    note = folder / "order.json"
    if note.is_file() and read_json(note)["digest"] != found:
        raise BadInput(f"{folder} holds another evaluation (other rows, prompts or settings); give another --name")
    write_json(note, {"digest": found})


def load_models(config: SuiteConfig) -> tuple[Renderer, Sequence[Scorer]]:
    """Load the renderer and the scorers of a suite.

    Raises:
        BadInput: one of them cannot be loaded.
    """
    from experiments.training.workshop import load_scorer
    from rendering import load_renderer
    from rendering.settings import RenderSettings

    source = str(RENDERERS.get(config.renderer, config.renderer))
    return load_renderer(source, RenderSettings(chunk=config.chunk)), [load_scorer(name) for name in config.scorers]

"""The embedded miniworld as an oracle for `make peers`: reads questions and writes answers, one JSON value a line.

    .venv/bin/python benchmarks/peers_oracle.py [--home FOLDER]

A question is {"world": 0, "ask": "scores", "arm": "0.1", "blocks": ["x0"]}, or, without blocks, "ask": "worth". It runs
in brushup's own environment, which has torch; the peers ask from theirs. Everything is a function of its key (world,
path of the instruction, name of the block), whatever was asked before.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

import miniworld
from agents.gradient import LLMGradientCalculator
from agents.initial import INITIAL_INSTRUCTION
from agents.messages import load_templates
from agents.modifier import LLMInstructionModifier
from benchmarks.peers_world import INITIAL, NAIVE, turn_of
from core.errors import AgentFailure
from core.records import Instruction, Prompt, RenderRequest, ScoredPrompt, ScoreItem, TextualGradient
from core.seeding import derive_seed, generator
from experiments.config import RunConfig
from experiments.data import run_prompts
from experiments.wiring import agent_settings, load_chat, open_library, refiner_factory
from rendering import load_renderer
from rendering.settings import RenderSettings
from scoring import load_scorer

CHUNK = 5
STEPS = 3
"""Denoising steps; half the price of the default seven, as in `experiments/configs/compare.toml`."""
LOG = 240
"""Pictures of the initial instruction, which borrows professional phrases; proposals learn from them alone."""
LESSON = 60
"""Results of the log that each expansion on the way to a child has seen."""
MOST = 100
"""Results that an expansion sees at most, its own first."""
TWINS = 2
"""Children of one expansion, as a run has them."""
HELD_OUT = 40
Picture = tuple[str, str, int]
"""Naive prompt, refined prompt, diffusion seed."""


class Studio:
    """Draws and scores in chunks of one shape, each picture once; FOLDER/scores.jsonl remembers across processes."""

    def __init__(self, home: Path | None) -> None:
        self.chat = load_chat(RunConfig().agents)
        self.library, self.corpus = open_library(home or Path(tempfile.mkdtemp()), None)
        settings = RenderSettings(steps=STEPS, chunk=CHUNK, threads=1, device="cpu")
        self._renderer = load_renderer(str(miniworld.PIPELINE), settings)
        self._scorer = load_scorer(str(miniworld.SCORER), chunk=CHUNK, threads=1)
        self._file = home / "scores.jsonl" if home else None
        self._known: dict[Picture, float] = {}
        if self._file and self._file.exists():
            rows = map(json.loads, self._file.read_text(encoding="utf-8").splitlines())
            self._known = {(naive, refined, seed): value for naive, refined, seed, value in rows}

    def scores(self, wanted: Sequence[Picture], fillers: Sequence[Picture] = ()) -> list[float]:
        """Return raw scores; a chunk that would not be full takes fillers, which may be asked for later."""
        todo = [picture for picture in dict.fromkeys(wanted) if picture not in self._known]
        spare = [picture for picture in dict.fromkeys(fillers) if picture not in self._known and picture not in todo]
        todo += spare[: -len(todo) % CHUNK]
        for start in range(0, len(todo), CHUNK):
            self._draw(todo[start : start + CHUNK])
        return [self._known[picture] for picture in wanted]

    def _draw(self, pictures: Sequence[Picture]) -> None:
        drawn = self._renderer.render([RenderRequest(refined, seed) for _, refined, seed in pictures])
        items = []
        for picture, result in zip(pictures, drawn, strict=True):
            if result.image is None:
                raise RuntimeError(f"no picture of {picture}: {result.error}")
            items.append(ScoreItem(result.image, picture[0]))
        for picture, score in zip(pictures, self._scorer.score(items), strict=True):
            if score.value is None:
                raise RuntimeError(f"no score of {picture}: {score.error}")
            self._known[picture] = score.value
            if self._file:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([*picture, score.value]) + "\n")


@dataclass(frozen=True, eq=False)
class MiniworldTruth:
    """One world: the miniworld with prompts, diffusion seeds and proposals of its own.

    Child k of an instruction comes from its expansion k // TWINS. The Gradient Calculator sees LESSON results of a
    common log, drawn by the expansion's name, and those that its ancestors' expansions on the way saw: later
    generations know more. The log is nobody's picture: it is the same for every method.
    """

    number: int
    studio: Studio

    @cached_property
    def prompts(self) -> dict[str, list[Prompt]]:
        """The train prompts, and HELD_OUT fresh ones."""
        config = RunConfig.model_validate(
            {"run": {"holdout_seed": self.number}, "evaluation": {"test_prompts": HELD_OUT}}
        )
        rows = run_prompts(config)
        return {split: [row for row in rows if row.split == split] for split in ("train", "test")}

    def scores(self, arm: str, blocks: Sequence[str]) -> list[float]:
        """Return the raw score of an instruction's picture on each block."""
        fillers = [near for block in blocks for near in neighbours(block)]
        pictures = self._pictures(arm, [self._block(name) for name in [*blocks, *fillers]])
        return self.studio.scores(pictures[: len(blocks)], pictures[len(blocks) :])

    def worth(self, arm: str) -> float:
        """Return the mean score minus the naive prompts' on the held-out blocks, x 100."""
        blocks = [
            (row.text, derive_seed("peers-holdout", self.number, k)) for k, row in enumerate(self.prompts["test"])
        ]
        mine, naive = (self.studio.scores(self._pictures(who, blocks)) for who in (arm, NAIVE))
        return 100 * sum(a - b for a, b in zip(mine, naive, strict=True)) / len(blocks)

    @cache  # noqa: B019 - worlds live as long as the process
    def text(self, arm: str) -> str:
        """Return the instruction of a path."""
        if arm == INITIAL:
            return INITIAL_INSTRUCTION
        parent, turn, twin = turn_of(arm, TWINS)
        born = self._expansion(parent, turn)
        return born[twin % len(born)]

    @cache  # noqa: B019
    def _expansion(self, parent: str, turn: int) -> list[str]:
        seen = [self._log[place] for place in self._lessons(parent, turn)]
        agents = RunConfig().agents
        naive = tuple(one.naive for one in seen)
        exemplars = self.studio.library.exemplars(naive, agents.modifier_exemplars, corpus=self.studio.corpus)
        chat, templates, settings = self.studio.chat, load_templates(), agent_settings(agents)
        calculator = LLMGradientCalculator(chat, templates=templates, settings=settings)
        training = [row.text for row in self.prompts["train"]]
        modifier = LLMInstructionModifier(chat, templates=templates, settings=settings, training_prompts=training)
        seed = derive_seed("peers-birth", self.number, parent, turn)
        instruction = self.text(parent)
        gradient = _critique(calculator, instruction, seen, exemplars, seed)
        return asyncio.run(modifier.propose(instruction, gradient, exemplars, TWINS, seed=seed))

    def _lessons(self, parent: str, turn: int) -> list[int]:
        chance = generator("peers-lesson", self.number, parent, turn)
        own = [int(place) for place in chance.choice(LOG, LESSON, replace=False)]
        if parent == INITIAL:
            return own
        grandparent, earlier, _ = turn_of(parent, TWINS)
        return list(dict.fromkeys([*own, *self._lessons(grandparent, earlier)]))[:MOST]

    @cached_property
    def _log(self) -> list[ScoredPrompt]:
        names = [f"log {place}" for place in range(LOG)]
        blocks = [self._block(name) for name in names]
        pictures = self._pictures(INITIAL, blocks)
        mine, naive = self.studio.scores(pictures), self.studio.scores(self._pictures(NAIVE, blocks))
        return [
            ScoredPrompt(picture[0], picture[1], value - base, INITIAL, name)
            for picture, value, base, name in zip(pictures, mine, naive, names, strict=True)
        ]

    def _block(self, name: str) -> tuple[str, int]:
        train = self.prompts["train"]
        drawn = int(generator("peers-prompt", self.number, name).integers(len(train)))
        return train[drawn].text, derive_seed("peers-diffusion", self.number, name)

    def _pictures(self, arm: str, blocks: Sequence[tuple[str, int]]) -> list[Picture]:
        return [(naive, self._refined(arm, naive), seed) for naive, seed in blocks]

    @cache  # noqa: B019
    def _refined(self, arm: str, naive: str) -> str:
        if arm == NAIVE:
            return naive
        agents, studio = RunConfig().agents, self.studio
        make = refiner_factory(
            studio.chat,
            load_templates(),
            agent_settings(agents),
            lambda prompt: studio.library.exemplars((prompt,), agents.generator_exemplars, corpus=studio.corpus),
        )
        refiner = make(Instruction(arm, self.text(arm)))
        [refined] = asyncio.run(refiner.refine([naive], seed=derive_seed("peers-refine", self.number, arm)))
        if refined.error:
            raise RuntimeError(f"no refined prompt from {arm} of {naive!r}: {refined.error}")
        return refined.text


def _critique(
    calculator: LLMGradientCalculator,
    instruction: str,
    seen: Sequence[ScoredPrompt],
    exemplars: Sequence[str],
    seed: int,
) -> TextualGradient:
    """Return the gradient; one that is refused, as too long, is asked for again from three quarters of the results."""
    try:
        return asyncio.run(calculator.critique(instruction, seen, exemplars, seed=seed, arm=INITIAL))
    except AgentFailure:
        if len(seen) < LESSON // 2:
            raise
    return _critique(calculator, instruction, seen[: len(seen) * 3 // 4], exemplars, seed)


def neighbours(block: str) -> list[str]:
    """Return the CHUNK blocks of the same name with the next numbers: x13 -> x10 ... x14, 3.0 -> 0.0 ... 4.0."""
    place = next((k for k, letter in enumerate(block) if letter.isdigit()), len(block))
    number = "".join(letter for letter in block[place:].partition(".")[0] if letter.isdigit())
    if not number:
        return []
    rest = block[place + len(number) :]
    first = int(number) // CHUNK * CHUNK
    return [f"{block[:place]}{first + k}{rest}" for k in range(CHUNK)]


def main() -> None:
    """Answer questions until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="folder that remembers scores (default: nothing is remembered)")
    home = parser.parse_args().home
    if home:
        home.mkdir(parents=True, exist_ok=True)
    studio = Studio(home)
    worlds: dict[int, MiniworldTruth] = {}
    for line in sys.stdin:
        question = json.loads(line)
        world = worlds.setdefault(question["world"], MiniworldTruth(question["world"], studio))
        arm = question["arm"]
        answer = world.worth(arm) if question["ask"] == "worth" else world.scores(arm, question["blocks"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

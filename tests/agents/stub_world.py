"""A world without pictures for the agents' tests: phrases with utilities, prompts, a corpus, noise, and a small loop.

24 phrases: three help everywhere, nine help only in one of four style families, four do nothing, eight harm. More than
five dilute. In the corpus of professional prompts popularity has nothing to do with benefit.
"""

import asyncio
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents import (
    INITIAL_INSTRUCTION,
    LLMGradientCalculator,
    LLMInstructionModifier,
    LLMRefiner,
    frequent_instruction,
    load_templates,
    make_chat_model,
    settings_for,
)
from core.errors import AgentFailure
from core.interfaces import ChatModel
from core.records import ScoredPrompt
from core.seeding import derive_seed, generator
from core.text import phrases

SUBJECTS = "house tree boat castle flower robot fish cat car mushroom".split()
COLOURS = "red orange yellow green blue purple white black".split()
PLACES = ["in a forest", "on a beach", "in a desert", "under a night sky", "in the snow", "on a meadow"]
FAMILIES = ["anime", "concept art", "painting", "photo"]

GENERIC = {"fine detail": 1.1, "balanced light": 1.0, "rich tones": 0.9}
FAMILY = {
    "anime": {"clean lines": 1.2, "cel shading": 1.0, "bright eyes": 0.8},
    "concept art": {"epic scale": 1.1, "moody haze": 0.9},
    "painting": {"thick strokes": 1.1, "linen texture": 0.9},
    "photo": {"shallow focus": 1.1, "natural grain": 0.9},
}
NEUTRAL = ["award winner", "trending now", "very popular", "by an expert"]
HARMFUL = {
    "out of focus": -1.2,
    "washed out": -1.1,
    "jpeg blocks": -1.0,
    "crooked frame": -1.0,
    "muddy colors": -0.9,
    "noisy": -0.9,
    "low effort": -0.8,
    "cropped": -0.7,
}
PHRASES = [*GENERIC, *(name for group in FAMILY.values() for name in group), *NEUTRAL, *HARMFUL]
MOST = 5


@dataclass(frozen=True)
class World:
    """One draw of the world. `sign` -1 turns every reward round; `names` renames phrases throughout."""

    seed: int = 0
    noise: float = 0.5
    sign: float = 1.0
    names: Mapping[str, str] = field(default_factory=dict)

    def said(self, phrase: str) -> str:
        """Return a phrase as this world calls it."""
        return self.names.get(phrase, phrase)

    def meant(self) -> dict[str, str]:
        """Return the original name of every phrase of this world."""
        return {self.said(phrase): phrase for phrase in PHRASES}

    def truth(self, naive: str, refined: str) -> float:
        """Return the reward without noise: what the added phrases are worth for this naive prompt."""
        own, meant = set(phrases(naive)), self.meant()
        added = [phrase.lower() for phrase in phrases(refined) if phrase not in own]
        family = next(name for name in FAMILIES if name in naive)
        worth = {**GENERIC, **FAMILY[family], **HARMFUL}
        total = sum(worth.get(meant.get(phrase, ""), 0.0) for phrase in added)
        crowd = max(0, len(added) - MOST)
        return self.sign * (total * MOST / max(MOST, len(added)) - 0.4 * crowd)

    def reward(self, naive: str, refined: str, block: str) -> float:
        """Return the noisy paired reward of a refined prompt on a block."""
        meant = self.meant()
        rng = generator("noise", self.seed, block, *(meant.get(phrase, phrase) for phrase in phrases(refined)))
        return self.truth(naive, refined) + (self.noise * float(rng.normal()) if refined != naive else 0.0)

    def prompts(self, split: str, count: int) -> list[str]:
        """Return naive prompts; train and test differ in their combinations."""
        rng = generator("prompts", self.seed, split)
        return [_scene(rng, FAMILIES[k % 4]) for k in range(count)]

    def corpus(self, count: int = 400) -> list[str]:
        """Return professional prompts. How popular a phrase is was drawn without a look at its utility."""
        rng = generator("corpus", self.seed)
        weight = rng.permutation(1.0 / (3.0 + np.arange(len(PHRASES))))
        lines = []
        for k in range(count):
            size = int(rng.integers(2, 9))
            chosen = rng.choice(len(PHRASES), size=size, replace=False, p=weight / weight.sum())
            lines.append(", ".join([_scene(rng, FAMILIES[k % 4]), *(self.said(PHRASES[i]) for i in chosen)]))
        return lines

    def frequent(self, count: int = 5) -> list[str]:
        """Return the phrases that the corpus uses most."""
        meant = self.meant()
        found = [phrase for line in self.corpus() for phrase in phrases(line) if phrase in meant]
        return sorted(set(found), key=lambda phrase: -found.count(phrase))[:count]


def _scene(rng: np.random.Generator, family: str) -> str:
    subject, colour, place = (group[int(rng.integers(len(group)))] for group in (SUBJECTS, COLOURS, PLACES))
    return f"a {colour} {subject} {place}, {family}"


def retrieve(corpus: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a retriever: the professional prompts that share most words with the naive prompt."""
    bags = [set(line.replace(",", "").split()) for line in corpus]

    @functools.cache
    def examples(naive: str) -> list[str]:
        words = set(naive.replace(",", "").split())
        order = sorted(range(len(corpus)), key=lambda i: (-len(bags[i] & words), i))
        return [corpus[i] for i in order[:24]]

    return examples


@dataclass(frozen=True)
class LoopResult:
    """What a run of the small loop found."""

    instructions: Mapping[str, str]
    best: str
    scored: Sequence[ScoredPrompt]


async def run_loop(
    world: World, *, rounds: int = 5, pulls: int = 6, batch: int = 8, children: int = 2, chat: ChatModel | None = None
) -> LoopResult:
    """Run a small version of the optimisation loop: UCB1 on standardised rewards, then one expansion a round."""
    chat = chat or make_chat_model("offline/agents")
    templates, settings = load_templates(), settings_for(chat.name)
    corpus, train = world.corpus(), world.prompts("train", 64)
    examples = retrieve(corpus)
    order = generator("blocks", world.seed).permutation(len(train))
    calculator = LLMGradientCalculator(chat, templates=templates, settings=settings)
    modifier = LLMInstructionModifier(chat, templates=templates, training_prompts=train, settings=settings)
    arms = {"r0c0": INITIAL_INSTRUCTION}
    rewards: dict[str, list[float]] = {"r0c0": []}
    scored: list[ScoredPrompt] = []
    for number in range(rounds):
        for _ in range(pulls):
            arm = _ucb(rewards)
            turn = len(rewards[arm]) // batch
            blocks = [int(order[(turn * batch + k) % len(order)]) for k in range(batch)]
            refiner = LLMRefiner(chat, arms[arm], templates=templates, exemplars=examples, settings=settings)
            for block, item in zip(blocks, await refiner.refine([train[b] for b in blocks], seed=turn), strict=True):
                assert not item.error
                name = f"{turn}-{block}"
                reward = world.reward(item.naive, item.text, name)
                rewards[arm].append(reward)
                scored.append(ScoredPrompt(item.naive, item.text, reward, arm, name))
        if number == rounds - 1:
            break
        parent = _leader(rewards)
        shown = [line for block in range(8) for line in examples(train[block])[:3]]
        gradient = await calculator.critique(arms[parent], scored, shown, seed=number, arm=parent)
        try:
            born = await modifier.propose(arms[parent], gradient, shown, children, seed=derive_seed(world.seed, number))
        except AgentFailure:
            continue
        for place, text in enumerate(text for text in born if text not in arms.values()):
            arms[f"r{number + 1}c{place}"] = text
            rewards[f"r{number + 1}c{place}"] = []
    return LoopResult(arms, _leader(rewards), scored)


def _ucb(rewards: Mapping[str, Sequence[float]]) -> str:
    fresh = [arm for arm, row in rewards.items() if not row]
    if fresh:
        return fresh[0]
    total = sum(len(row) for row in rewards.values())
    spread = math.sqrt(sum(float(np.var(row)) * len(row) for row in rewards.values()) / total)
    return max(
        rewards, key=lambda arm: np.mean(rewards[arm]) + spread * math.sqrt(2 * math.log(total) / len(rewards[arm]))
    )


def _leader(rewards: Mapping[str, Sequence[float]]) -> str:
    """Return the arm with the highest lower bound."""
    pulled = {arm: row for arm, row in rewards.items() if row}
    return max(pulled, key=lambda arm: np.mean(pulled[arm]) - np.std(pulled[arm]) / math.sqrt(len(pulled[arm])))


async def refined(world: World, instruction: str, count: int = 40, split: str = "test") -> list[tuple[str, str]]:
    """Return (naive, refined) pairs for unseen prompts."""
    chat = make_chat_model("offline/agents")
    settings = settings_for(chat.name)
    refiner = LLMRefiner(
        chat, instruction, templates=load_templates(), exemplars=retrieve(world.corpus()), settings=settings
    )
    return [(item.naive, item.text) for item in await refiner.refine(world.prompts(split, count), seed=999)]


async def value(world: World, instruction: str, count: int = 40) -> float:
    """Return the true mean reward of an instruction on unseen prompts."""
    return float(np.mean([world.truth(naive, text) for naive, text in await refined(world, instruction, count)]))


@dataclass(frozen=True)
class Comparison:
    """True values on unseen prompts, and the run that led to them."""

    best: float
    initial: float
    frequent: float
    text: str
    run: LoopResult


def compare(world: World, **loop: int) -> Comparison:
    """Run the loop and compare its best instruction with the initial and the frequent-phrases one."""

    async def both() -> Comparison:
        result = await run_loop(world, **loop)  # type: ignore[arg-type]
        text = result.instructions[result.best]
        return Comparison(
            await value(world, text),
            await value(world, INITIAL_INSTRUCTION),
            await value(world, frequent_instruction(world.frequent())),
            text,
            result,
        )

    return asyncio.run(both())

"""A renderer and a scorer that take microseconds: the picture carries its worth in its pixels, the scorer reads it.

The worth comes from the stub world of the agents' tests, so whole runs behave as on real models: phrases help or harm,
some only in one family, noise depends on the block. A harmful phrase in the negative prompt helps half as much.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from agents import make_chat_model
from core.records import RenderRequest, RenderResult, Score, ScoreItem, UnreadEnd
from core.seeding import generator
from core.text import phrases
from experiments.wiring import Models
from tests.agents.stub_world import HARMFUL, World


@dataclass
class FakeRenderer:
    """Draws 8x8 pictures whose first pixels hold round(1000 * worth) + 2^23 in 24 bits."""

    world: World = field(default_factory=World)
    name: str = "fake"
    revision: str = "1"
    chunk: int = 4
    delay: float = 0.0
    settings: dict[str, object] = field(default_factory=lambda: {"width": 8, "height": 8})
    notes: tuple[str, ...] = ()
    reads_negative: bool = True
    window: int | None = None
    drawn: list[RenderRequest] = field(default_factory=list)
    broken: bool = False

    def unread(self, prompt: str) -> UnreadEnd:
        """Words beyond the window: here a token is a word."""
        words = [] if self.window is None else prompt.split()[self.window :]
        return UnreadEnd(" ".join(words), len(words))

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        assert 0 < len(requests) <= self.chunk
        time.sleep(self.delay)
        self.drawn.extend(requests)
        if self.broken:
            return [RenderResult(None, "the picture is black") for _ in requests]
        return [RenderResult(self._draw(request)) for request in requests]

    def _draw(self, request: RenderRequest) -> Image.Image:
        naive = ", ".join(phrases(request.prompt)[:2])
        block = generator("block", self.world.seed, naive, request.seed).normal()
        noise = generator("picture", self.world.seed, request.prompt, request.seed).normal()
        forbidden = -sum(HARMFUL.get(phrase, 0.0) for phrase in phrases(request.negative_prompt))
        worth = self.world.truth(naive, request.prompt) + 0.5 * forbidden + 0.8 * block + self.world.noise * noise
        number = round(1000 * float(worth)) + 2**23
        pixels = np.zeros((8, 8, 3), dtype=np.uint8)
        pixels[0, 0] = [number >> 16 & 255, number >> 8 & 255, number & 255]
        return Image.fromarray(pixels)


@dataclass
class FakeScorer:
    """Reads the worth back and brings it to HPSv2's range (about 0.25 with gaps of 0.01)."""

    name: str = "fake-scorer"
    revision: str = "1"
    chunk: int = 16
    sign: float = 1.0
    nan: bool = False
    scored: list[ScoreItem] = field(default_factory=list)

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        assert 0 < len(items) <= self.chunk
        self.scored.extend(items)
        return [self._one(item) for item in items]

    def _one(self, item: ScoreItem) -> Score:
        if self.nan:
            return Score(None, "the score is not finite")
        red, green, blue = item.image.getpixel((0, 0))[:3]
        worth = ((red << 16 | green << 8 | blue) - 2**23) / 1000
        return Score(0.25 + self.sign * 0.01 * worth)


def fake_models(world: World | None = None, *, sign: float = 1.0, delay: float = 0.0) -> Models:
    """Return models for a run that needs no weights."""
    world = world or World()
    renderer, watched = FakeRenderer(world, delay=delay), FakeScorer(name="fake-watched", sign=sign)
    return Models(make_chat_model("offline/agents"), renderer, FakeScorer(sign=sign), (watched,))

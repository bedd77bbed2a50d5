"""The seams of brushup on one page. A new policy, scorer, renderer or refiner implements one of these.

Implementations do not repeat these contracts; contract tests hold every registered one to them.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from core.records import (
    ChatRequest,
    Completion,
    Refinement,
    RenderRequest,
    RenderResult,
    Score,
    ScoredPrompt,
    ScoreItem,
    TextualGradient,
    UnreadEnd,
)

Table = Mapping[str, Mapping[str, float]]
"""Rewards by arm and block id. An arm without results has an empty row. It is rebuilt from facts by replay."""


@runtime_checkable
class ChatModel(Protocol):
    """A language model behind one call."""

    name: str

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer the messages. Unknown cost is None.

        Raises:
            ProviderError: the provider refused the call, or stayed unreachable after all retries.
        """
        ...


@runtime_checkable
class Refiner(Protocol):
    """Whatever turns a naive prompt into a refined one."""

    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:
        """Return one refinement per prompt, in order; a failed one carries its error."""
        ...


@runtime_checkable
class GradientCalculator(Protocol):
    """Says in words why good prompts beat bad ones (2406.08713, section 3.1)."""

    async def critique(
        self, instruction: str, scored: Sequence[ScoredPrompt], exemplars: Sequence[str], *, seed: int, arm: str = ""
    ) -> TextualGradient:
        """Contrast the best with the worst results of `arm`, whose text is `instruction`, by paired reward.

        `scored` may hold results of other arms too; contrasts within one block are preferred.

        Raises:
            AgentFailure: no usable reply.
        """
        ...


@runtime_checkable
class InstructionModifier(Protocol):
    """Writes better instructions from a textual gradient and professional exemplars (2406.08713, section 3.1)."""

    async def propose(
        self, instruction: str, gradient: TextualGradient, exemplars: Sequence[str], n: int, *, seed: int
    ) -> list[str]:
        """Return at most `n` new instructions, distinct from each other and from `instruction`.

        Raises:
            AgentFailure: no usable reply.
        """
        ...


@runtime_checkable
class BanditPolicy(Protocol):
    """Chooses an arm from the rewards so far. Pure: the same table and rng state give the same choice."""

    def select(self, table: Table, rng: np.random.Generator) -> str:
        """Return the arm to pull. Arms without results come first; ties are broken at random; never NaN."""
        ...


@runtime_checkable
class Renderer(Protocol):
    """Draws pictures from text in chunks of a fixed shape."""

    name: str
    revision: str
    chunk: int
    """May become smaller in a call that runs out of memory: all pictures of a call have the chunk that it ends with."""
    settings: Mapping[str, object]
    """Every setting that changes a picture; part of the cache key, with `name`-independent `revision` and `chunk`."""
    notes: tuple[str, ...]
    """What a user should know before the first picture, one line each: where it draws and why, what it does not read
    of the settings (those begin with `warning: `)."""
    reads_negative: bool
    """Whether negative prompts have an effect."""
    window: int | None
    """Tokens of a prompt, without special ones, that its text encoder reads; of several the one that reads most. None:
    unknown."""

    def unread(self, prompt: str) -> UnreadEnd:
        """Return the end of a prompt that no text encoder reads; an empty one also when that is not known."""
        ...

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Draw at most `chunk` pictures (padded to `chunk` inside), in order, independent of place in the batch."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Scores pictures against naive prompts in chunks of a fixed shape."""

    name: str
    revision: str
    chunk: int

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Score at most `chunk` items (padded to `chunk` inside), in order. A non-finite value is an error."""
        ...

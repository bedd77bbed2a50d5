"""What trained refiners do alike: batches of different prompts, variants, wishes. Heavy: imports torch."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch

from core.records import Refinement
from refiner.answer import EMPTY, stem
from refiner.asked import Asked
from refiner.batches import SEARCHED, WRITTEN, in_batches
from refiner.constraints import Categories, Satisfaction, Wishes, read_categories
from refiner.folder import Manifest
from refiner.neurologic import NeuroLogic, Wanted


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRefiner(ABC):
    """Answers users' prompts. An answer depends on its prompt and the seed, not on the other prompts of a call.

    Attributes:
        categories: terms that `auto` chooses from.
        manifest: what its folder says of it; None for released weights.
    """

    categories: Categories = field(default_factory=read_categories)
    manifest: Manifest | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    @abstractmethod
    def wishes(self) -> Wishes:
        """What every answer is asked to hold."""

    @property
    @abstractmethod
    def search(self) -> NeuroLogic | None:
        """How answers are searched for; None = they are written token by token."""

    @abstractmethod
    def _with(self, wishes: Wishes) -> Self:
        """Return the same refiner with other wishes."""

    @abstractmethod
    def _answers(self, prompts: Sequence[str], n: int, seed: int) -> list[list[Refinement]]:
        """Return what `variants` does, for a batch of different prompts without fault."""

    def _fault(self, prompt: str) -> str:
        """Return why a prompt cannot be answered, or ""."""
        return "" if stem(prompt) else EMPTY

    @property
    def asked(self) -> Asked:
        """The wishes, with the terms that they may choose from."""
        return Asked(self.wishes, self.categories)

    def _wanted(self, prompt: str, seed: int, prefix: str, whole: Callable[[str], str]) -> Wanted:
        """Return what a search looks for; `whole` makes the refined prompt from what follows the prefix."""
        return Wanted(prefix, self.asked.clauses(prompt, seed), lambda text: self.asked.allows(prompt, whole(text)))

    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:
        """See `core.interfaces.Refiner`. A prompt without a word or character to draw fails."""
        return [found[0] for found in await self.variants(prompts, 1, seed=seed)]

    async def variants(self, prompts: Sequence[str], n: int, *, seed: int) -> list[list[Refinement]]:
        """Return for each prompt at most `n` different refinements, the usual answer first, or its failure.

        A search gives its `n` best texts; otherwise all but the first are drawn.
        """
        return await asyncio.to_thread(self._variants, prompts, n, seed)

    def _variants(self, prompts: Sequence[str], n: int, seed: int) -> list[list[Refinement]]:
        size = SEARCHED if self.search else WRITTEN
        with self._lock, torch.inference_mode():
            return in_batches(prompts, size, self._fault, lambda batch: self._answers(batch, n, seed))

    def wishing(self, wishes: Wishes) -> Self:
        """Return the same refiner with other wishes.

        Raises:
            BadInput: the wishes contradict each other, or name a category without terms.
        """
        Asked(wishes, self.categories).check()
        return self._with(wishes)

    def satisfaction(self, refinement: Refinement, seed: int) -> list[Satisfaction]:
        """Return what became of the wishes for one refinement."""
        return self.asked.satisfaction(refinement, seed)

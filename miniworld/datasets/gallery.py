"""Which prompts a public gallery would hold, and from which seeds each was drawn.

PRIP (arXiv 2407.00247) takes two things from DiffusionDB. For a *user's prompt* it takes the best picture that this
very prompt has given, by reward over the seeds (Eq 6): so naive prompts are in the log, each with K renders. And it
learns which prompt says a *good picture* in the system's language, from the (picture, prompt) pairs that pass filters
on their scores (Eq 7): so professional prompts of the corpus are in the log as well, as they are; the reader filters.
Like DiffusionDB, the log does not say of which kind a prompt is.

Half of the prompts are naive, half professional. That gives one user pair to at most K system pairs, which for K = 4
and filters that drop a quarter is PRIP's own proportion (300k to 900k).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache

from core.errors import BadInput
from core.seeding import derive_seed, generator
from miniworld import CORPUS
from miniworld.grammar import draw_prompts, naive_prompts, parse, split_of

SPLIT = "train"
_NAMES = uuid.UUID("9d6c1f0e-2406-5713-8a21-6d696e697764")
"""Namespace of the pictures' names."""
_SEEDS = 2**31


@dataclass(frozen=True)
class GallerySize:
    """What decides the contents of a gallery.

    Attributes:
        prompts: How many prompts, at least 2: naive ones (the odd one too) and professional ones in halves.
        renders: Pictures per prompt, at least 1.
        seed: Seed of the draw of prompts and of the pictures' seeds, not negative.
    """

    prompts: int = 1000
    renders: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for flag, least in (("prompts", 2), ("renders", 1), ("seed", 0)):
            value = getattr(self, flag)
            if value < least:
                raise BadInput(f"--{flag} is {value}, expected at least {least}; give a larger number")

    @property
    def naive(self) -> int:
        """How many prompts are naive."""
        return (self.prompts + 1) // 2

    @property
    def professional(self) -> int:
        """How many prompts come from the corpus."""
        return self.prompts // 2

    @property
    def pictures(self) -> int:
        """How many pictures are drawn."""
        return self.prompts * self.renders


@dataclass(frozen=True)
class Render:
    """One picture to draw.

    Attributes:
        prompt: What to draw.
        seed: Its diffusion seed, 31 bits.
    """

    prompt: str
    seed: int

    @property
    def file(self) -> str:
        """The picture's file name, a UUID as in DiffusionDB, here a function of prompt and seed."""
        return f"{uuid.uuid5(_NAMES, f'{self.seed} {self.prompt}')}.png"


def plan(size: GallerySize) -> list[Render]:
    """Choose prompts and seeds: prompts of both kinds in random order, the renders of a prompt one after another.

    Raises:
        BadInput: More prompts are asked for than the train split and the corpus have.
    """
    professional = _professional()
    most = 2 * min(_naive_count(), len(professional))
    if size.prompts > most:
        raise BadInput(f"--prompts is {size.prompts}, expected at most {most}: half of them come from the corpus")
    rng = generator("gallery", size.seed)
    naive = users_prompts(size.naive, size.seed)
    chosen = rng.choice(len(professional), size=size.professional, replace=False)
    prompts = [*naive, *(professional[index] for index in chosen)]
    order = rng.permutation(len(prompts))
    return [render for index in order for render in _renders(prompts[index], size)]


def users_prompts(count: int, seed: int) -> list[str]:
    """Draw naive prompts of train scenes, as users would type them."""
    return [item.prompt for item in draw_prompts(SPLIT, seed, count)]


def _renders(prompt: str, size: GallerySize) -> list[Render]:
    first = derive_seed("gallery", size.seed, prompt)
    return [Render(prompt, (first + k) % _SEEDS) for k in range(size.renders)]  # never the same seed twice


@cache
def _professional() -> tuple[str, ...]:
    return tuple(line for line in CORPUS.read_text(encoding="utf-8").splitlines() if _of_split(line))


@cache
def _naive_count() -> int:
    return len(naive_prompts(SPLIT))


def _of_split(prompt: str) -> bool:
    scene = parse(prompt)
    return scene is not None and split_of(scene.triple) == SPLIT

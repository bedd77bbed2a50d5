"""What PRIP learns from: a log of pictures, turned into (prompt, pivot) pairs for E and for D. Imports no torch.

Scores are handed in, one a picture of the log, None where one failed; such pictures are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import BadInput
from core.text import content_words
from prompt_db.diffusiondb import LoggedImage
from refiner.answer import join

_LOOKED_AT = 2000
MIN_CLIP, MIN_AESTHETIC = 0.28, 5.2
"""Filters of system-language pictures (paper, section 4.3)."""


@dataclass(frozen=True)
class PromptPicture:
    """A prompt and a picture of it."""

    prompt: str
    path: Path


Picture = LoggedImage | PromptPicture


def preferred_pictures(
    log: Sequence[Picture], scores: Sequence[float | None], rng: np.random.Generator | None = None
) -> list[PromptPicture]:
    """Return each prompt's best picture by score (equation 4), in the order of the log.

    Args:
        log: pictures; those with the same prompt are one prompt's.
        scores: how well each satisfies the user, against its prompt (paper: ImageReward).
        rng: given, a random picture is taken instead of the best (paper, table 4, without user-pivot preference).

    Raises:
        BadInput: not one score a picture.
    """
    _same_length(log, scores)
    by_prompt: dict[str, list[tuple[float, Path]]] = {}
    for image, score in zip(log, scores, strict=True):
        if score is not None and image.prompt.strip():
            by_prompt.setdefault(image.prompt, []).append((score, image.path))
    if rng is not None:
        return [PromptPicture(prompt, rows[rng.integers(len(rows))][1]) for prompt, rows in by_prompt.items()]
    return [PromptPicture(prompt, max(rows, key=lambda row: row[0])[1]) for prompt, rows in by_prompt.items()]


def system_pictures(
    log: Sequence[Picture],
    clip: Sequence[float | None],
    aesthetic: Sequence[float | None],
    *,
    min_clip: float = MIN_CLIP,
    min_aesthetic: float = MIN_AESTHETIC,
) -> list[PromptPicture]:
    """Return the pictures whose prompts count as system language: both scores over their floors (section 4.3).

    Raises:
        BadInput: not one score of each kind a picture.
    """
    _same_length(log, clip)
    _same_length(log, aesthetic)
    return [
        PromptPicture(image.prompt, image.path)
        for image, match, beauty in zip(log, clip, aesthetic, strict=True)
        if image.prompt.strip()
        and match is not None
        and beauty is not None
        and match > min_clip
        and beauty > min_aesthetic
    ]


def with_system_language(
    prompts: Sequence[str], professional: Sequence[str], count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Return (user's prompt, what to draw for it): each itself, and with the words of professional prompts after it.

    The pictures are what a preference model chooses E's targets from where no log has several wordings of one wish
    (paper, section 3.2: preference data may be synthesised).

    Args:
        prompts: users'.
        professional: what comes after a first comma is system language; at most 2,000 of them are looked at.
        count: professional prompts for each, drawn from the `4 * count` that share most content words with it.
        rng: draws.
    """
    looked_at = rng.permutation(len(professional))[:_LOOKED_AT]
    others = [(set(content_words(head)), tail) for head, _, tail in (professional[i].partition(",") for i in looked_at)]
    others = [(words, tail) for words, tail in others if tail.strip()]
    rows = []
    for prompt in prompts:
        own = set(content_words(prompt))
        order = sorted(rng.permutation(len(others)), key=lambda i: -len(own & others[i][0]))[: 4 * count]
        rows += [(prompt, prompt), *((prompt, join(prompt, others[i][1])) for i in rng.permutation(order)[:count])]
    return list(dict.fromkeys(rows))


def _same_length(log: Sequence[Picture], scores: Sequence[float | None]) -> None:
    if len(log) != len(scores):
        raise BadInput(f"got {len(scores)} scores for {len(log)} pictures, expected one a picture")

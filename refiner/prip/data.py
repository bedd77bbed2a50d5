"""What PRIP learns from: a log of pictures, turned into (prompt, pivot) pairs for E and for D. Imports no torch.

Scores are handed in, one a picture of the log, None where one failed; such pictures are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import BadInput
from prompt_db.diffusiondb import LoggedImage

MIN_CLIP, MIN_AESTHETIC = 0.28, 5.2
"""Filters of system-language pictures (paper, section 4.3)."""


@dataclass(frozen=True)
class PromptPicture:
    """A prompt and a picture of it."""

    prompt: str
    path: Path


def preferred_pictures(
    log: Sequence[LoggedImage], scores: Sequence[float | None], rng: np.random.Generator | None = None
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
    log: Sequence[LoggedImage],
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


def _same_length(log: Sequence[LoggedImage], scores: Sequence[float | None]) -> None:
    if len(log) != len(scores):
        raise BadInput(f"got {len(scores)} scores for {len(log)} pictures, expected one a picture")

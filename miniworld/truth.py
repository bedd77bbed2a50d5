"""The truth of this world: how good a picture is, said by an annotator that knows statistics and taste.

The annotator's value of a picture for a naive prompt is

    sum_k w[family, k] * tanh((statistic_k - centre_k) / (2.5 * scale_k))  +  adherence,

with the taste w of the prompt's style family and an adherence that falls with the judge's doubt about subject,
colour, place and style. It stands for people: preference labels are drawn from it with noise
(``miniworld.train.pairs``). Only evaluation may import it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miniworld.effects import SIZE
from miniworld.grammar import Scene, parse
from miniworld.judge import Judge, right_probabilities
from miniworld.statistics import STATISTICS, Batch, measure

_REFERENCE: dict[str, tuple[float, float]] = {
    "edges": (-2.525, 0.338),
    "contrast": (0.136, 0.036),
    "saturation": (0.138, 0.056),
    "warmth": (0.011, 0.099),
    "cast": (0.077, 0.063),
    "border_light": (-0.517, 0.263),
    "spot": (0.053, 0.267),
    "rays": (-0.006, 0.02),
    "ink": (0.01, 0.05),
    "half_shade": (0.018, 0.059),
    "strokes": (0.079, 0.292),
    "weave": (0.004, 0.022),
    "focus": (0.501, 0.484),
    "evening": (-0.004, 0.03),
    "shadow": (0.014, 0.07),
    "noise": (-5.102, 1.0),
    "blocks": (0.012, 0.063),
    "exposure": (0.535, 0.109),
    "frame": (-0.015, 0.022),
    "stamp": (-0.008, 0.042),
}
"""(centre, scale) of each statistic on plain renders; some scales are widened, lest a full effect saturate."""
_COMMON: dict[str, float] = {
    "edges": 1.1,
    "contrast": 0.5,
    "saturation": 0.9,
    "noise": -1.3,
    "blocks": -1.2,
    "exposure": 0.7,
    "frame": -0.6,
    "stamp": -0.7,
    "ink": -0.9,
    "half_shade": -0.7,
    "border_light": -0.8,
    "spot": -0.6,
    "rays": -0.7,
    "strokes": -0.9,
    "weave": -0.6,
    "focus": -0.5,
    "evening": -0.7,
    "shadow": -0.5,
}
"""What everybody likes and dislikes; a family's own devices are disliked elsewhere."""
_TASTE: dict[str, dict[str, float]] = {
    "anime": {
        "ink": 0.9,
        "half_shade": 1.4,
        "border_light": 2.0,
        "exposure": 0.8,
        "cast": -1.2,
        "saturation": 1.1,
        "rays": -0.9,
        "evening": -1.0,
        "strokes": -1.1,
    },
    "concept-art": {"spot": 1.0, "rays": 0.9, "warmth": -0.7, "border_light": -0.3},
    "paintings": {
        "strokes": 1.2,
        "weave": 1.8,
        "warmth": 1.0,
        "noise": -1.1,
        "spot": -1.0,
        "focus": -0.8,
        "evening": -1.7,
    },
    "photo": {
        "focus": 1.4,
        "shadow": 1.7,
        "evening": 0.5,
        "ink": -2.7,
        "contrast": 1.1,
        "border_light": -2.2,
        "cast": -1.0,
        "saturation": 1.1,
        "spot": -0.9,
    },
}
"""Each family's departures from ``_COMMON``."""
_SATURATION = 2.5
_ADHERENCE_WEIGHT = 0.7
_MAX_SURPRISE = 3.0
NOISE_SCALE = 0.7
"""Scale of the logistic noise in an annotator's comparison of two pictures."""


def taste_scores(pictures: Batch, families: Sequence[str]) -> NDArray[np.float64]:
    """The part of the truth that is taste alone.

    Args:
        pictures: Shape (n, 3, 64, 64), values in [0, 1].
        families: The style family whose taste counts, one per picture.
    """
    centre, scale = (np.array([_REFERENCE[name][k] for name in STATISTICS]) for k in (0, 1))
    felt = np.tanh((measure(pictures) - centre) / (_SATURATION * scale))
    tastes = {
        family: np.array([{**_COMMON, **own}.get(name, 0.0) for name in STATISTICS]) for family, own in _TASTE.items()
    }
    return np.array([row @ tastes[family] for row, family in zip(felt, families, strict=True)])


def scene_scores(images: Sequence[Image.Image], scenes: Sequence[Scene], judge: Judge | None = None) -> list[float]:
    """Taste plus adherence, for pictures whose wanted scene is known."""
    if not images:
        return []
    taste = taste_scores(to_array(images), [scene.family for scene in scenes])
    right = right_probabilities(images, scenes, judge)
    surprise = [
        sum(min(_MAX_SURPRISE, -math.log(max(p, 1e-9))) for p in row) for row in zip(*right.values(), strict=True)
    ]
    return [float(value - _ADHERENCE_WEIGHT * loss) for value, loss in zip(taste, surprise, strict=True)]


def truth_scores(images: list[Image.Image], naive_prompts: list[str]) -> list[float]:
    """What the annotator thinks of pictures, without noise.

    Values compare pictures of the same naive prompt; their zero is arbitrary.

    Args:
        images: Pictures, of any size; they are looked at in 64 x 64.
        naive_prompts: What the user asked for, one per picture, in the miniworld's words.

    Raises:
        ValueError: A prompt names no subject, colour, place or style of this world.
    """
    scenes = []
    for prompt in naive_prompts:
        scene = parse(prompt)
        if scene is None:
            raise ValueError(
                f"got {prompt!r}, expected subject, colour, place and style in miniworld words: no truth without them"
            )
        scenes.append(scene)
    return scene_scores(images, scenes)


def to_array(images: Sequence[Image.Image]) -> Batch:
    """Pictures as the annotator sees them: RGB, 64 x 64, in [0, 1], shape (n, 3, 64, 64)."""
    fitted = [image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image, dtype=np.float32) for image in fitted]).transpose(0, 3, 1, 2) / 255


def preference_probability(first: float, second: float) -> float:
    """The probability that the annotator prefers the first of two pictures (Bradley-Terry)."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, (first - second) / NOISE_SCALE))))

"""Draws a scene as a 64 x 64 picture: the miniworld's camera.

The renderer is the world's nature, and the training set of the diffusion pipeline. Without terms a picture is
mediocre (a little soft, dull and flat); each term changes how the picture is made, never what it shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from miniworld import effects
from miniworld.effects import Field, Picture, X, Y
from miniworld.grammar import Scene
from miniworld.places import SIDE, backdrop
from miniworld.subjects import BODY_COLOURS, DRAW, Pen
from miniworld.vocabulary import DECOY_TERMS, FAMILY_TERMS, FILLERS, GENERAL_TERMS, HARMFUL_TERMS, MAX_UNDILUTED

_POSITION_JITTER = 0.03
_SCALE_JITTER = 0.05
_OUTLINES: dict[str, int] = {"anime": 3, "concept-art": 0, "paintings": 0, "photo": 0}
"""Outline of the naive picture, pixels of the 128-pixel drawing."""


@dataclass(frozen=True)
class Look:
    """Everything about one picture that the caption leaves open, and the terms' strengths.

    Attributes:
        quality: How carefully a plain picture is made, 0 (poor) to 1 (good).
        offset: Position of the subject relative to its place, share of the frame, (x, y).
        scale: Relative size of the subject.
        strengths: Term -> strength in [0, 1]; absent terms have none.
        muddle: How much too many terms spoil the picture, in [0, 1].
    """

    quality: float
    offset: tuple[float, float]
    scale: float
    strengths: dict[str, float]
    muddle: float

    def of(self, term: str) -> float:
        """The strength of one term."""
        return self.strengths.get(term, 0.0)


def dilution(count: int) -> tuple[float, float]:
    """(strength of each term, muddle) for a caption with ``count`` terms, fillers included."""
    if count <= MAX_UNDILUTED:
        return 1.0, 0.0
    return float((MAX_UNDILUTED / count) ** 1.6), min(1.0, (count - MAX_UNDILUTED) / 4)


def choose_look(scene: Scene, rng: np.random.Generator, *, unmentioned: float = 0.0) -> Look:
    """Draw what the caption leaves open.

    Args:
        scene: The scene with its terms.
        rng: Source of randomness.
        unmentioned: Probability that one effect is present which the caption does not name, as web captions omit
            things; 0 for evaluation.
    """
    strength, spoiled = dilution(len(scene.terms))
    strengths = {term: strength for term in scene.terms if term not in FILLERS}
    if rng.random() < unmentioned:
        pool = [*GENERAL_TERMS, *HARMFUL_TERMS, *DECOY_TERMS, *FAMILY_TERMS[scene.family]]
        strengths.setdefault(pool[int(rng.integers(len(pool)))], 0.7)
    dx, dy = rng.uniform(-_POSITION_JITTER, _POSITION_JITTER, size=2)
    return Look(
        quality=float(np.clip(rng.normal(0.4, 0.16), 0.0, 0.8)),
        offset=(float(dx), float(dy)),
        scale=float(1 + rng.uniform(-_SCALE_JITTER, _SCALE_JITTER)),
        strengths=strengths,
        muddle=spoiled,
    )


def render(scene: Scene, rng: np.random.Generator, *, unmentioned: float = 0.0) -> Image.Image:
    """Draw a scene.

    Args:
        scene: What to draw, with its terms.
        rng: Draws position, size and care; the same state gives the same picture.
        unmentioned: See ``choose_look``.

    Returns:
        A 64 x 64 RGB picture.
    """
    look = choose_look(scene, rng, unmentioned=unmentioned)
    background, subject, mask = _draw_layers(scene, look)
    picture = _compose(scene, look, background, subject, mask)
    picture = _style(scene.family, picture, mask)
    picture = _finish(look, picture)
    pixels: NDArray[np.uint8] = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _draw_layers(scene: Scene, look: Look) -> tuple[Picture, Picture, Field]:
    """The flat backdrop, the flat subject on it, and the subject's coverage (64, 64)."""
    base = backdrop(scene.place)
    canvas, mask = base.copy(), Image.new("L", (SIDE, SIDE))
    line = max(_OUTLINES[scene.family], round(5 * look.of("clean line art")))
    pen = Pen(
        picture=ImageDraw.Draw(canvas),
        mask=ImageDraw.Draw(mask),
        body=BODY_COLOURS[scene.colour],
        centre=(SIDE * (0.5 + look.offset[0]), SIDE * (0.55 + look.offset[1])),
        scale=0.325 * SIDE * look.scale,
        line=line,
        ink=(12, 10, 18) if look.of("clean line art") > 0.5 else (58, 50, 66),
    )
    DRAW[scene.subject](pen)
    return _array(base), _array(canvas), np.asarray(mask.reduce(2), dtype=np.float32) / 255


def _array(image: Image.Image) -> Picture:
    return np.asarray(image.reduce(2), dtype=np.float32).transpose(2, 0, 1) / 255


def _compose(scene: Scene, look: Look, background: Picture, drawn: Picture, mask: Field) -> Picture:
    """Light the subject, treat the backdrop, and put one onto the other."""
    subject = drawn
    if scene.family in ("photo", "concept-art", "paintings"):
        depth = {"photo": 0.34, "concept-art": 0.2, "paintings": 0.16}[scene.family]
        subject = subject * (1 + depth * (-0.55 * X - 0.75 * Y))[None]
    cel = look.of("cel shading")
    if cel:
        lit = (X + 0.9 * (Y - 0.1) < 0.12).astype(np.float32)
        subject = subject * (1 + cel * (0.16 * lit - 0.3 * (1 - lit)))[None]
        background = effects.posterise(background, 4, cel)
    pastel = look.of("pastel background")
    background = background + pastel * 0.5 * (np.array([1.0, 0.93, 0.97], dtype=np.float32)[:, None, None] - background)
    background = effects.blur(
        background, {"photo": 0.8}.get(scene.family, 0.0) + 2.4 * look.of("shallow depth of field")
    )
    shadow = max({"photo": 0.3}.get(scene.family, 0.0), 0.8 * look.of("soft shadow"))
    if shadow:
        ellipse = np.exp(-(((X - 0.16) / 0.66) ** 4) - ((Y - 0.78 - look.offset[1] * 2) / 0.15) ** 2)
        background = background * (1 - shadow * ellipse)[None]
    return background * (1 - mask)[None] + subject * mask[None]


def _style(family: str, picture: Picture, mask: Field) -> Picture:
    """The look that makes a family recognisable at any quality."""
    if family == "anime":
        return effects.saturate(picture, 1.12) * 0.9 + 0.1
    if family == "concept-art":
        moody = effects.vignette(effects.tint(picture, 0.84, 0.92, 1.04), 0.5)
        return effects.contrast(moody, 0.92, 0.3)
    if family == "paintings":
        painted = effects.strokes(picture, 0.55)
        return effects.tint(painted, 1.04, 1.0, 0.9) * 0.94 + 0.03
    return effects.sharpen(effects.contrast(picture, 0.96), 0.15, 1.5) - 0.02 * (1 - mask)[None]


def _finish(look: Look, picture: Picture) -> Picture:
    """Care of a plain picture, then every term's effect in a fixed order."""
    picture = _apply_care(look, picture)
    picture = _apply_light(look, picture)
    if look.of("visible brushstrokes"):
        picture = effects.strokes(picture, 0.65 * look.of("visible brushstrokes"))
    if look.of("canvas texture"):
        picture = effects.weave(picture, look.of("canvas texture"))
    if look.of("sharp focus"):
        picture = effects.sharpen(picture, 0.9 * look.of("sharp focus"), 0.9)
    if look.of("highly detailed"):
        picture = effects.sharpen(picture, 0.55 * look.of("highly detailed"), 3.0)
    if look.muddle:
        picture = effects.muddle(picture, look.muddle)
    return _apply_harm(look, np.clip(picture, 0, 1))


def _apply_care(look: Look, picture: Picture) -> Picture:
    """Softness, dullness and flatness of a plain picture, undone by the general terms."""
    lack = 1 - look.quality
    softness = (
        1.25
        * lack
        * (1 - max(look.of("sharp focus"), 0.75 * look.of("highly detailed"), 0.8 * look.of("clean line art")))
    )
    dullness = 1 - 0.5 * lack
    flatness = 1 - 0.42 * lack
    picture = effects.blur(picture, softness)
    vivid = look.of("vibrant colors")
    picture = effects.saturate(picture, (1 - vivid) * dullness + vivid * 1.45)
    strong = look.of("high contrast")
    return effects.contrast(picture, (1 - strong) * flatness + strong * 1.3)


def _apply_light(look: Look, picture: Picture) -> Picture:
    """Terms of light and palette."""
    if look.of("cool tones"):
        s = look.of("cool tones")
        picture = effects.tint(picture, 1 - 0.2 * s, 1.0, 1 + 0.18 * s)
    if look.of("warm palette"):
        s = look.of("warm palette")
        picture = effects.tint(picture, 1 + 0.13 * s, 1 + 0.02 * s, 1 - 0.24 * s)
    if look.of("golden hour"):
        picture = effects.evening_sun(picture, look.of("golden hour"))
    if look.of("dramatic lighting"):
        picture = effects.vignette(picture, look.of("dramatic lighting"))
    if look.of("volumetric light"):
        picture = effects.beams(picture, look.of("volumetric light"))
    return picture


def _apply_harm(look: Look, picture: Picture) -> Picture:
    """Harmful terms and decoys, last."""
    if look.of("dull colors"):
        picture = effects.saturate(picture, 1 - 0.55 * look.of("dull colors"))
    if look.of("washed out"):
        s = look.of("washed out")
        picture = effects.contrast(picture, 1 - 0.38 * s, 0.8)
    if look.of("underexposed"):
        picture = picture * (1 - 0.42 * look.of("underexposed"))
    if look.of("blurry"):
        picture = effects.blur(picture, 1.15 * look.of("blurry"))
    if look.of("low resolution"):
        picture = effects.pixelate(picture, look.of("low resolution"))
    if look.of("grainy"):
        picture = effects.grain(picture, look.of("grainy"))
    if look.of("masterpiece"):
        picture = effects.frame(picture, look.of("masterpiece"))
    if look.of("trending on artstation"):
        picture = effects.watermark(picture, look.of("trending on artstation"))
    return picture

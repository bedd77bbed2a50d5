"""What each quality term does to a picture.

All functions work on float32 arrays of shape (3, 64, 64) in [0, 1] and are deterministic: textures are fixed fields,
so that a small diffusion model can learn them. ``strength`` is 0 (no effect) to 1 (the full effect of a term that is
not diluted).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 64
Picture = NDArray[np.floating[Any]]
Field = NDArray[np.floating[Any]]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]
_COORDS = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
X: Field = np.broadcast_to(_COORDS[None, :], (SIZE, SIZE))
Y: Field = np.broadcast_to(_COORDS[:, None], (SIZE, SIZE))


def luma(picture: Picture) -> Field:
    """Brightness as the eye weighs it (Rec. 601), shape (64, 64)."""
    return (picture * _LUMA).sum(axis=0)


def blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur with a standard deviation of ``sigma`` pixels; edges are repeated."""
    if sigma < 0.15:
        return picture
    kernel = _blur_matrix(round(sigma * 20))
    return kernel @ picture @ kernel.T


@lru_cache(maxsize=256)
def _blur_matrix(twentieths: int) -> Field:
    sigma = twentieths / 20
    offsets = np.arange(SIZE)[:, None] - np.arange(-SIZE, 2 * SIZE)[None, :]
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    folded = weights[:, SIZE : 2 * SIZE].copy()
    folded[:, 0] += weights[:, :SIZE].sum(axis=1)
    folded[:, -1] += weights[:, 2 * SIZE :].sum(axis=1)
    return (folded / folded.sum(axis=1, keepdims=True)).astype(np.float32)


@cache
def texture(name: str) -> Field:
    """A fixed texture with mean 0 and standard deviation 1, shape (64, 64): "strokes", "weave" or "grain"."""
    rng = np.random.default_rng(sum(name.encode()))
    noise = rng.standard_normal((1, SIZE, SIZE)).astype(np.float32)
    if name == "strokes":
        wide = _blur_matrix(80)
        narrow = _blur_matrix(16)
        field = (narrow @ noise @ wide.T)[0]
    elif name == "weave":
        index = np.arange(SIZE)
        ridge = np.array([1.0, 0.3, -1.0, -0.3], dtype=np.float32)[index % 4]
        checks = ((index[:, None] // 4 + index[None, :] // 4) % 2).astype(np.float32)
        field = checks * ridge[:, None] + (1 - checks) * ridge[None, :]
    else:
        field = noise[0]
    return ((field - field.mean()) / field.std()).astype(np.float32)


def saturate(picture: Picture, factor: float) -> Picture:
    """Move colours away from grey (factor > 1) or towards it (factor < 1)."""
    grey = luma(picture)[None]
    return grey + factor * (picture - grey)


def contrast(picture: Picture, factor: float, pivot: float = 0.5) -> Picture:
    """Scale brightness differences around a pivot."""
    return pivot + factor * (picture - pivot)


def tint(picture: Picture, red: float, green: float, blue: float) -> Picture:
    """Multiply the channels."""
    return picture * np.array([red, green, blue], dtype=np.float32)[:, None, None]


def sharpen(picture: Picture, amount: float, sigma: float) -> Picture:
    """Unsharp mask: small sigma gives crisp edges, large sigma local contrast."""
    return picture + amount * (picture - blur(picture, sigma))


def vignette(picture: Picture, strength: float) -> Picture:
    """Darken the border and lift the middle, as a spot light would."""
    falloff = np.clip((X**2 + (Y - 0.1) ** 2) * 0.75, 0, 1)
    return picture * (1 + strength * (0.22 - 0.85 * falloff))[None]


def beams(picture: Picture, strength: float) -> Picture:
    """Bright diagonal rays from the top left corner."""
    angle = np.arctan2(Y + 1.25, X + 1.25)
    rays = np.clip(np.cos(angle * 16.0), 0, 1) ** 1.5
    reach = np.clip(1.25 - np.hypot(X + 1.1, Y + 1.1) / 2.2, 0, 1)
    light = strength * (0.36 * rays * reach + 0.2 * reach)
    return picture + light[None] * (1 - 0.6 * picture)


def evening_sun(picture: Picture, strength: float) -> Picture:
    """Warm low light from the right."""
    glow = np.exp(-(((X - 1.0) / 0.75) ** 2) - ((Y - 0.1) / 0.9) ** 2)
    colour = np.array([0.36, 0.15, -0.16], dtype=np.float32)[:, None, None]
    return picture + strength * glow[None] * colour


def strokes(picture: Picture, strength: float) -> Picture:
    """Horizontal brush marks: rows slip sideways and the paint's lightness varies."""
    field = texture("strokes")
    shift = np.clip(field, -1.5, 1.5) * 0.9 * strength
    whole = np.floor(shift).astype(np.intp)
    left, right = (np.clip(np.arange(SIZE)[None, :] + whole + step, 0, SIZE - 1) for step in (0, 1))
    part = (shift - whole)[None]
    sides = [np.take_along_axis(picture, np.broadcast_to(columns, picture.shape), axis=2) for columns in (left, right)]
    moved = (1 - part) * sides[0] + part * sides[1]
    return moved * (1 + 0.15 * strength * field)[None]


def weave(picture: Picture, strength: float) -> Picture:
    """The threads of a canvas, four pixels wide."""
    return picture * (1 + 0.06 * strength * texture("weave"))[None] + 0.012 * strength * texture("weave")[None]


def grain(picture: Picture, strength: float) -> Picture:
    """Sensor noise (a fixed field)."""
    return picture + 0.05 * strength * texture("grain")[None]


def pixelate(picture: Picture, strength: float) -> Picture:
    """Blocks of 2 x 2 pixels."""
    small = picture.reshape(3, SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
    blocks = np.repeat(np.repeat(small, 2, axis=1), 2, axis=2)
    levels = np.round(blocks * 14) / 14
    return (1 - strength) * picture + strength * levels


def posterise(picture: Picture, levels: int, strength: float) -> Picture:
    """Reduce to a few flat tones per channel."""
    return (1 - strength) * picture + strength * np.round(picture * levels) / levels


def frame(picture: Picture, strength: float) -> Picture:
    """A pale gallery frame, three pixels wide."""
    border = (np.maximum(np.abs(X), np.abs(Y)) > 1 - 6 / SIZE).astype(np.float32)
    share = strength * border[None]
    return picture * (1 - share) + share * np.array([0.86, 0.8, 0.66], dtype=np.float32)[:, None, None]


def watermark(picture: Picture, strength: float) -> Picture:
    """A small white stamp in the lower right corner."""
    stamp = np.zeros((SIZE, SIZE), dtype=np.float32)
    stamp[54:61, 42:61] = 0.45
    stamp[56:59:2, 44:59] = 1.0
    stamp[55:60, 44:60:4] = 1.0
    return picture + strength * stamp[None] * (0.95 - picture)


def muddle(picture: Picture, strength: float) -> Picture:
    """What too many terms do: everything at once, so grey mottling lies over a softened picture."""
    field = blur(texture("grain")[None], 2.2)[0]
    mottled = 0.52 + 0.08 * field / field.std()
    soft = blur(picture, 0.9 * strength)
    return soft * (1 - 0.42 * strength) + 0.42 * strength * mottled[None]

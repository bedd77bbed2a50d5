"""Image statistics that the annotator looks at: plain numbers of a picture, without any idea of what it shows.

Each statistic is one number per picture. They are chosen so that every quality term moves at least one of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from miniworld.effects import SIZE, X, Y, blur, texture

Batch = NDArray[np.floating[Any]]
"""Pictures in [0, 1], shape (n, 3, 64, 64)."""
Planes = NDArray[np.floating[Any]]
"""Brightness, shape (n, 64, 64)."""

STATISTICS: tuple[str, ...] = (
    "edges",
    "contrast",
    "saturation",
    "warmth",
    "cast",
    "border_light",
    "spot",
    "rays",
    "ink",
    "half_shade",
    "strokes",
    "weave",
    "focus",
    "evening",
    "shadow",
    "noise",
    "blocks",
    "exposure",
    "frame",
    "stamp",
)
_CENTRE = np.hypot(X, Y - 0.1) < 0.6
_CORNERS = (np.hypot(X, Y) > 1.0) & (np.maximum(np.abs(X), np.abs(Y)) < 0.9)
_OUTSIDE = (np.maximum(np.abs(X), np.abs(Y)) < 0.85) & (np.hypot(X, Y - 0.1) > 0.78) & (Y < 0.7)
_INSIDE = (np.maximum(np.abs(X), np.abs(Y)) < 0.85) & ~((X > 0.25) & (Y > 0.65))
_RING = (np.maximum(np.abs(X), np.abs(Y)) > 0.7) & (np.maximum(np.abs(X), np.abs(Y)) < 0.9)
_UNDER = (np.abs(X - 0.1) < 0.45) & (np.abs(Y - 0.84) < 0.08)
_BESIDE = (np.abs(X) > 0.75) & (np.abs(X) < 0.9) & (np.abs(Y - 0.84) < 0.08)


def measure(pictures: Batch) -> NDArray[np.floating[Any]]:
    """All statistics of a batch.

    Args:
        pictures: Shape (n, 3, 64, 64), values in [0, 1].

    Returns:
        Shape (n, len(STATISTICS)), in the order of ``STATISTICS``.
    """
    light = np.tensordot(pictures, np.array([0.299, 0.587, 0.114], dtype=np.float32), axes=([1], [0]))
    inner = light[:, 6:58, 6:58]
    detail = np.abs(_laplacian(light))
    lines = np.abs(_laplacian(blur(light, 0.8)))
    warm = pictures[:, 0] - pictures[:, 2]
    across = np.abs(np.diff(inner, axis=2)).mean(axis=(1, 2))
    down = np.abs(np.diff(inner, axis=1)).mean(axis=(1, 2))
    columns = {
        "edges": np.log(np.quantile(lines[:, _INSIDE], 0.95, axis=1) + 0.01),
        "contrast": light[:, _INSIDE].std(axis=1),
        "saturation": (pictures.max(axis=1) - pictures.min(axis=1))[:, _INSIDE].mean(axis=1),
        "warmth": warm[:, _INSIDE].mean(axis=1),
        "cast": np.abs(warm[:, _INSIDE].mean(axis=1)),
        "border_light": np.log(light[:, _RING].mean(axis=1) + 0.1),
        "spot": np.log((light[:, _CENTRE].mean(axis=1) + 0.05) / (light[:, _CORNERS].mean(axis=1) + 0.05)),
        "rays": light[:, (X + Y) < -0.7].mean(axis=1) - light[:, (X - Y) > 0.7].mean(axis=1),
        "ink": (light[:, _CENTRE] < 0.22).mean(axis=1),
        "half_shade": _half_shade(light),
        "strokes": np.log((down + 0.004) / (across + 0.004)),
        "weave": _weave(light),
        "focus": np.log((detail[:, _CENTRE].mean(axis=1) + 0.004) / (detail[:, _OUTSIDE].mean(axis=1) + 0.004)),
        "evening": warm[:, X > 0.6].mean(axis=1) - warm[:, X < -0.6].mean(axis=1),
        "shadow": light[:, _BESIDE].mean(axis=1) - light[:, _UNDER].mean(axis=1),
        "noise": np.log(_noise(inner) + 0.004),
        "blocks": _blocks(inner),
        "exposure": light[:, _INSIDE].mean(axis=1),
        "frame": _frame(pictures),
        "stamp": light[:, 54:61, 42:61].std(axis=(1, 2)) - light[:, 46:53, 42:61].std(axis=(1, 2)),
    }
    return np.stack([columns[name] for name in STATISTICS], axis=1).astype(np.float32)


def edge_energy(pictures: Batch) -> NDArray[np.floating[Any]]:
    """Sharpness for the card: 95th percentile of the absolute Laplacian of brightness (0-255), shape (n,)."""
    light = np.tensordot(pictures, np.array([0.299, 0.587, 0.114], dtype=np.float32), axes=([1], [0])) * 255
    return np.quantile(np.abs(_laplacian(light)), 0.95, axis=(1, 2))


def _laplacian(light: Planes) -> Planes:
    inner = light[:, 1:-1, 1:-1]
    summed = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:] - 4 * inner
    return np.pad(summed, ((0, 0), (1, 1), (1, 1)))


def _half_shade(light: Planes) -> NDArray[np.floating[Any]]:
    """How abruptly the lit upper left half of the middle passes into the lower right half."""
    side = X + 0.9 * (Y - 0.1) - 0.12
    near_lit, near_dark = (side < 0) & (side > -0.3) & _CENTRE, (side > 0) & (side < 0.3) & _CENTRE
    return light[:, near_lit].mean(axis=1) - light[:, near_dark].mean(axis=1)


def _weave(light: Planes) -> NDArray[np.floating[Any]]:
    """Agreement of the fine structure with a canvas of four-pixel threads, beside the strength of that structure."""
    fine = light - blur(light, 1.5)
    agreement = (fine * texture("weave")).mean(axis=(1, 2))
    return (agreement / (fine.std(axis=(1, 2)) + 0.01)).astype(np.float32)


def _noise(light: Planes) -> Planes:
    """Median size of the checkerboard-like part, which edges have little of."""
    mixed = light[:, 1:, 1:] - light[:, :-1, 1:] - light[:, 1:, :-1] + light[:, :-1, :-1]
    return np.median(np.abs(mixed), axis=(1, 2)).astype(np.float32)


def _blocks(light: Planes) -> NDArray[np.floating[Any]]:
    """How much larger steps are between 2 x 2 blocks than inside them."""
    steps = np.abs(np.diff(light, axis=2))
    inside, between = steps[:, :, 0::2].mean(axis=(1, 2)), steps[:, :, 1::2].mean(axis=(1, 2))
    return np.log((between + 0.004) / (inside + 0.004))


def _frame(pictures: Batch) -> NDArray[np.floating[Any]]:
    """How close the three outer pixels are to the pale frame's colour, beside the pixels further in."""
    colour = np.array([0.86, 0.8, 0.66], dtype=np.float32)[None, :, None, None]
    distance = np.abs(pictures - colour).mean(axis=1)
    depth = np.minimum(
        np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1])[:, None], np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1])
    )
    return distance[:, (depth >= 4) & (depth < 8)].mean(axis=1) - distance[:, depth < 3].mean(axis=1)

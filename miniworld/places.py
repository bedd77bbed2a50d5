"""The six places as flat backdrops with a fixed horizon and fixed decorations."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128
"""Backdrops are drawn at twice the picture's size and then halved, which smooths their edges. Pixels."""
HORIZON = 74
"""Row of the horizon in the 128-pixel drawing."""

Colour = tuple[int, int, int]


@cache
def backdrop(place: str) -> Image.Image:
    """The flat backdrop of a place, 128 x 128 RGB; the same object each time, so copy before drawing on it."""
    picture = _SKIES[place]()
    _DETAILS[place](ImageDraw.Draw(picture))
    return picture


def _gradient(top: Colour, bottom: Colour, ground_top: Colour, ground_bottom: Colour) -> Image.Image:
    rows = np.zeros((SIDE, 1, 3), dtype=np.float32)
    for start, stop, first, last in ((0, HORIZON, top, bottom), (HORIZON, SIDE, ground_top, ground_bottom)):
        share = np.linspace(0.0, 1.0, stop - start, dtype=np.float32)[:, None]
        rows[start:stop, 0] = (1 - share) * np.array(first) + share * np.array(last)
    return Image.fromarray(np.repeat(rows, SIDE, axis=1).round().astype(np.uint8))


def _meadow(draw: ImageDraw.ImageDraw) -> None:
    for x, y in ((24, 20), (96, 14)):
        for dx, dy, r in ((-10, 2, 7), (0, -2, 9), (11, 2, 7)):
            draw.ellipse((x + dx - r * 1.3, y + dy - r * 0.8, x + dx + r * 1.3, y + dy + r * 0.8), fill=(250, 252, 255))
    for x, y in ((10, 86), (30, 112), (60, 92), (96, 110), (118, 88), (104, 96), (16, 104)):
        draw.polygon([(x - 4, y + 4), (x, y - 6), (x + 4, y + 4)], fill=(56, 140, 52))
    for x, y, colour in ((22, 94, (255, 240, 120)), (112, 118, (255, 255, 255)), (8, 120, (255, 180, 200))):
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)


def _sea(draw: ImageDraw.ImageDraw) -> None:
    for x, y, width in ((6, 82, 26), (88, 86, 30), (24, 98, 24), (98, 106, 26), (2, 112, 26), (60, 120, 30)):
        draw.line([(x, y), (x + width, y)], fill=(214, 236, 250), width=3)
    for x in (20, 104):
        draw.line([(x - 8, 24), (x, 30), (x + 8, 24)], fill=(70, 84, 104), width=2)


def _desert(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((96, 8, 122, 34), fill=(255, 250, 196))
    draw.polygon([(0, HORIZON + 8), (36, HORIZON - 14), (80, HORIZON + 8)], fill=(222, 166, 92))
    draw.polygon([(64, HORIZON + 8), (104, HORIZON - 10), (128, HORIZON + 2), (128, HORIZON + 8)], fill=(210, 152, 82))
    for x, y in ((14, 62), (118, 66)):
        draw.rectangle((x - 3, y - 16, x + 3, y + 24), fill=(88, 132, 70))
        draw.rectangle((x - 10, y - 6, x - 6, y + 6), fill=(88, 132, 70))
        draw.rectangle((x - 10, y + 4, x, y + 8), fill=(88, 132, 70))


def _city(draw: ImageDraw.ImageDraw) -> None:
    blocks = ((0, 30, 18), (18, 46, 14), (32, 22, 16), (80, 26, 16), (96, 44, 14), (110, 18, 18), (48, 52, 32))
    for x, top, width in blocks:
        draw.rectangle((x, top, x + width - 2, HORIZON), fill=(106, 114, 132))
        for row in range(top + 5, HORIZON - 5, 10):
            for column in range(x + 3, x + width - 6, 6):
                draw.rectangle((column, row, column + 2, row + 4), fill=(248, 232, 160))
    for x in (4, 36, 68, 100):
        draw.rectangle((x, 112, x + 18, 116), fill=(236, 232, 214))


def _forest(draw: ImageDraw.ImageDraw) -> None:
    for x, height, colour in (
        (2, 52, (34, 92, 56)),
        (124, 56, (34, 92, 56)),
        (20, 64, (24, 74, 46)),
        (42, 46, (34, 92, 56)),
        (64, 54, (24, 74, 46)),
        (86, 46, (34, 92, 56)),
        (108, 64, (24, 74, 46)),
    ):
        draw.polygon([(x - 14, HORIZON + 6), (x, HORIZON - height), (x + 14, HORIZON + 6)], fill=colour)


def _night(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((96, 8, 120, 32), fill=(250, 246, 214))
    draw.ellipse((104, 4, 126, 26), fill=(22, 26, 68))
    for x, y in ((10, 12), (30, 30), (52, 8), (74, 20), (16, 52), (116, 52), (86, 44), (40, 50), (64, 36), (4, 34)):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 255, 236))


_SKIES: dict[str, Callable[[], Image.Image]] = {
    "meadow": lambda: _gradient((122, 190, 244), (208, 234, 252), (122, 200, 88), (84, 166, 66)),
    "sea": lambda: _gradient((176, 222, 240), (236, 246, 246), (46, 128, 190), (28, 92, 160)),
    "desert": lambda: _gradient((250, 202, 122), (254, 230, 174), (236, 186, 112), (214, 156, 84)),
    "city": lambda: _gradient((176, 182, 196), (218, 220, 224), (132, 132, 138), (104, 104, 112)),
    "forest": lambda: _gradient((172, 206, 184), (206, 226, 200), (66, 112, 54), (46, 84, 42)),
    "night": lambda: _gradient((14, 16, 52), (38, 42, 96), (32, 36, 62), (22, 24, 44)),
}
_DETAILS: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
    "meadow": _meadow,
    "sea": _sea,
    "desert": _desert,
    "city": _city,
    "forest": _forest,
    "night": _night,
}

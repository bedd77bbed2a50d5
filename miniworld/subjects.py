"""The ten subjects as flat drawings: bold shapes whose key parts (windows, eyes, wheels) are always there.

Each subject is a function that draws on a ``Pen``. Coordinates are in the subject's own frame: x and y from -1 to 1,
y pointing down, the ground at y = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import ImageDraw

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

BODY_COLOURS: dict[str, Colour] = {
    "red": (206, 38, 44),
    "orange": (242, 138, 28),
    "yellow": (248, 216, 48),
    "green": (44, 150, 66),
    "blue": (44, 96, 216),
    "purple": (134, 62, 178),
    "pink": (244, 136, 182),
    "white": (246, 246, 246),
}
_DARK: Colour = (38, 32, 42)
_LIGHT: Colour = (252, 248, 236)
_GLASS: Colour = (255, 226, 120)
_WOOD: Colour = (120, 76, 44)
_LEAF: Colour = (52, 122, 54)


@dataclass(frozen=True)
class Pen:
    """Draws shapes of one subject on a picture and, with the same calls, on its mask.

    Attributes:
        picture: Where colours go.
        mask: A greyscale drawing that receives 255 wherever the subject is.
        body: The subject's colour.
        centre: Position of the subject's origin, pixels.
        scale: Pixels per unit of the subject's frame.
        line: Outline width in pixels; 0 draws no outlines.
        ink: Outline colour.
    """

    picture: ImageDraw.ImageDraw
    mask: ImageDraw.ImageDraw
    body: Colour
    centre: tuple[float, float]
    scale: float
    line: int
    ink: Colour

    def shade(self, factor: float) -> Colour:
        """The body colour, darkened (factor < 1) or lightened (factor > 1)."""
        r, g, b = (min(255, round(channel * factor)) for channel in self.body)
        return r, g, b

    def polygon(self, points: Points, fill: Colour) -> None:
        """A filled polygon with an outline."""
        corners = [self._at(x, y) for x, y in points]
        self.picture.polygon(corners, fill=fill)
        self.mask.polygon(corners, fill=255)
        if self.line:
            self.picture.line([*corners, corners[0], corners[1]], fill=self.ink, width=self.line, joint="curve")
            self.mask.line([*corners, corners[0], corners[1]], fill=255, width=self.line, joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour, *, outlined: bool = True) -> None:
        """A filled ellipse around (x, y)."""
        (x0, y0), (x1, y1) = self._at(x - rx, y - ry), self._at(x + rx, y + ry)
        grow = self.line / 2 if outlined else 0.0
        box = (x0 - grow, y0 - grow, x1 + grow, y1 + grow)
        self.picture.ellipse(box, fill=fill, outline=self.ink if outlined and self.line else None, width=self.line)
        self.mask.ellipse(box, fill=255)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """A filled axis-parallel rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self.centre[0] + self.scale * x, self.centre[1] + self.scale * y


def _house(pen: Pen) -> None:
    pen.box(0.34, -0.86, 0.58, -0.3, pen.shade(0.6))
    pen.box(-0.7, -0.12, 0.7, 1.0, pen.body)
    pen.polygon([(-0.95, -0.1), (0.0, -0.95), (0.95, -0.1)], pen.shade(0.68))
    pen.box(-0.16, 0.36, 0.16, 1.0, _WOOD)
    pen.box(-0.55, 0.16, -0.27, 0.48, _GLASS)
    pen.box(0.27, 0.16, 0.55, 0.48, _GLASS)


def _tree(pen: Pen) -> None:
    pen.box(-0.16, 0.2, 0.16, 1.0, _WOOD)
    for x, y, r in ((-0.45, -0.05, 0.45), (0.45, -0.05, 0.45), (0.0, -0.45, 0.52)):
        pen.ellipse(x, y, r, r * 0.95, pen.body)
    pen.ellipse(0.0, -0.12, 0.5, 0.4, pen.body, outlined=False)
    pen.ellipse(-0.2, -0.52, 0.2, 0.16, pen.shade(1.22), outlined=False)


def _boat(pen: Pen) -> None:
    pen.box(-0.05, -0.95, 0.05, 0.5, _WOOD)
    pen.polygon([(0.1, -0.9), (0.85, 0.36), (0.1, 0.36)], pen.body)
    pen.polygon([(-0.1, -0.66), (-0.1, 0.36), (-0.7, 0.36)], pen.shade(0.72))
    pen.polygon([(-0.98, 0.48), (0.98, 0.48), (0.66, 1.0), (-0.66, 1.0)], _WOOD)


def _castle(pen: Pen) -> None:
    pen.box(-0.55, -0.1, 0.55, 1.0, pen.shade(0.84))
    for x in (-0.44, -0.14, 0.16):
        pen.box(x, -0.28, x + 0.2, -0.06, pen.shade(0.84))
    for side in (-1, 1):
        pen.box(side * 0.7 - 0.24, -0.4, side * 0.7 + 0.24, 1.0, pen.body)
        pen.polygon([(side * 0.7 - 0.32, -0.4), (side * 0.7, -1.0), (side * 0.7 + 0.32, -0.4)], pen.shade(0.55))
        pen.box(side * 0.7 - 0.08, -0.1, side * 0.7 + 0.08, 0.2, _GLASS)
    pen.ellipse(0.0, 0.6, 0.2, 0.2, _DARK, outlined=False)
    pen.box(-0.2, 0.6, 0.2, 1.0, _DARK)


def _flower(pen: Pen) -> None:
    pen.box(-0.06, 0.1, 0.06, 1.0, _LEAF)
    pen.ellipse(-0.3, 0.76, 0.28, 0.13, _LEAF)
    pen.ellipse(0.3, 0.62, 0.28, 0.13, _LEAF)
    for x, y in ((0.0, -0.42), (0.43, -0.1), (0.27, 0.36), (-0.27, 0.36), (-0.43, -0.1)):
        pen.ellipse(x, y - 0.22, 0.31, 0.31, pen.body)
    pen.ellipse(0.0, -0.2, 0.26, 0.26, _GLASS if pen.body != BODY_COLOURS["yellow"] else _WOOD)


def _robot(pen: Pen) -> None:
    pen.box(-0.05, -1.0, 0.05, -0.7, _DARK)
    pen.ellipse(0.0, -0.98, 0.1, 0.1, _GLASS)
    pen.box(-0.46, -0.72, 0.46, -0.02, pen.body)
    for side in (-1, 1):
        pen.ellipse(side * 0.2, -0.42, 0.13, 0.13, _GLASS)
        pen.ellipse(side * 0.2, -0.42, 0.05, 0.05, _DARK, outlined=False)
        pen.box(side * 0.74 - 0.11, 0.12, side * 0.74 + 0.11, 0.6, pen.shade(0.7))
        pen.box(side * 0.28 - 0.16, 0.66, side * 0.28 + 0.16, 1.0, pen.shade(0.6))
    pen.box(-0.22, -0.2, 0.22, -0.12, _DARK)
    pen.box(-0.6, 0.04, 0.6, 0.7, pen.shade(0.84))
    pen.box(-0.3, 0.2, 0.3, 0.5, _LIGHT)


def _fish(pen: Pen) -> None:
    pen.polygon([(0.4, 0.15), (1.0, -0.4), (0.88, 0.15), (1.0, 0.7)], pen.shade(0.74))
    pen.polygon([(-0.3, -0.3), (0.05, -0.78), (0.3, -0.25)], pen.shade(0.74))
    pen.ellipse(-0.2, 0.15, 0.76, 0.52, pen.body)
    pen.ellipse(-0.6, 0.0, 0.16, 0.16, _LIGHT)
    pen.ellipse(-0.62, 0.0, 0.07, 0.07, _DARK, outlined=False)
    pen.polygon([(-0.1, 0.15), (0.2, 0.02), (0.2, 0.34)], pen.shade(0.6))


def _cat(pen: Pen) -> None:
    for side in (-1, 1):
        pen.polygon([(side * 0.78, 0.1), (side * 0.72, -0.92), (side * 0.12, -0.4)], pen.body)
        pen.polygon([(side * 0.62, -0.3), (side * 0.62, -0.66), (side * 0.4, -0.46)], pen.shade(0.62))
    pen.ellipse(0.0, 0.2, 0.82, 0.72, pen.body)
    for side in (-1, 1):
        pen.ellipse(side * 0.34, 0.06, 0.19, 0.21, _LIGHT)
        pen.ellipse(side * 0.34, 0.08, 0.1, 0.16, _DARK, outlined=False)
    pen.polygon([(-0.13, 0.38), (0.13, 0.38), (0.0, 0.54)], _DARK)


def _car(pen: Pen) -> None:
    pen.polygon([(-0.5, 0.2), (-0.32, -0.36), (0.34, -0.36), (0.6, 0.2)], pen.shade(0.84))
    pen.polygon([(-0.36, 0.16), (-0.24, -0.24), (0.0, -0.24), (0.0, 0.16)], _LIGHT)
    pen.polygon([(0.1, 0.16), (0.1, -0.24), (0.28, -0.24), (0.44, 0.16)], _LIGHT)
    pen.box(-0.98, 0.16, 0.98, 0.74, pen.body)
    pen.ellipse(0.84, 0.36, 0.1, 0.1, _GLASS)
    for side in (-1, 1):
        pen.ellipse(side * 0.52, 0.74, 0.27, 0.27, _DARK, outlined=False)
        pen.ellipse(side * 0.52, 0.74, 0.12, 0.12, _LIGHT, outlined=False)


def _mushroom(pen: Pen) -> None:
    pen.polygon([(-0.22, 0.0), (0.22, 0.0), (0.3, 1.0), (-0.3, 1.0)], _LIGHT)
    steps = 14
    rim = [
        (-0.94 * math.cos(math.pi * i / steps), 0.16 - 1.02 * math.sin(math.pi * i / steps)) for i in range(steps + 1)
    ]
    pen.polygon(rim, pen.body)
    spots = _LIGHT if pen.body != BODY_COLOURS["white"] else _WOOD
    for x, y, r in ((-0.48, -0.2, 0.16), (0.02, -0.5, 0.19), (0.48, -0.16, 0.15)):
        pen.ellipse(x, y, r, r, spots, outlined=False)


DRAW: dict[str, Callable[[Pen], None]] = {
    "house": _house,
    "tree": _tree,
    "boat": _boat,
    "castle": _castle,
    "flower": _flower,
    "robot": _robot,
    "fish": _fish,
    "cat": _cat,
    "car": _car,
    "mushroom": _mushroom,
}
"""One drawing function per subject of ``miniworld.vocabulary.SUBJECTS``."""

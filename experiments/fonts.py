"""Captions: a font that has their characters, since Pillow's own has little more than ASCII, and lines that fit."""

import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_SYSTEM = (
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
)
"""Fonts with Chinese, Japanese or Korean characters that systems come with."""
_NO_CHARACTER = "\uffff"
_FULL = 0.92
"""Of a line, on average: a row of wide characters is longer than the mean says."""
_BETWEEN = 4
"""Pixels that Pillow leaves between lines."""


def font_for(text: str, size: int) -> Font:
    """Return the first font that has all characters of a text: Pillow's, DejaVu Sans, the system's; else Pillow's."""
    return next((font for font in _fonts(size) if _has(font, text)), _pillows(size))


def fitted(text: str, font: Font, width: int, height: int) -> str:
    """Return a text in lines for a box of pixels; what has no room ends in dots."""
    long = max(font.getlength(text), 1.0)
    return textwrap.fill(
        text,
        max(8, int(_FULL * width * len(text) / long)),
        max_lines=max(1, int(height / (font.getbbox("A")[3] + _BETWEEN))),
        placeholder=" ...",
    )


def _fonts(size: int) -> Iterator[Font]:
    yield _pillows(size)
    yield from filter(None, (_named(name, size) for name in (_dejavu(), *_SYSTEM)))


@cache
def _pillows(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _named(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@cache
def _dejavu() -> str:
    """Return where matplotlib keeps it."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def _has(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_NO_CHARACTER))
    return all(bytes(font.getmask(character)) != missing for character in {*text} if not character.isspace())

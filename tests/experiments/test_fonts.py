"""Captions: characters that a font lacks, and lines that fit."""

import pytest
from PIL import Image, ImageDraw

from experiments import fonts
from experiments.fonts import fitted, font_for


def test_pillows_font_is_left_where_it_lacks_a_character() -> None:
    plain, accents, russian = (font_for(text, 14) for text in ("a red boat", "a café by Édouard Manet", "рыжий кот"))
    assert plain is font_for("a blue boat, 8k ...", 14)
    assert accents is russian
    assert accents is not plain
    shapes = {bytes(accents.getmask(character)) for character in "éÉж\uffff"}
    assert len(shapes) == 4, "each has a shape of its own"


def test_what_no_font_has_is_drawn_with_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_SYSTEM", ("no-such-font.ttf",))
    assert font_for("a \U00013000 b", 14) is font_for("a b", 14)


@pytest.mark.parametrize(
    "text",
    [
        "a red boat by the sea, " * 9,
        "a café in the style of Édouard Manet, naïve, " * 5,
        "水墨画の猫" * 20,
        "WWWW MMMM " * 20,
    ],
    ids=["plain", "accents", "wide", "capitals"],
)
def test_lines_fit_their_box(text: str) -> None:
    font = font_for(text, 14)
    lines = fitted(text, font, 256, 92)
    left, _, right, bottom = ImageDraw.Draw(Image.new("RGB", (9, 9))).multiline_textbbox((0, 0), lines, font=font)
    assert 0.6 * 256 < right - left <= 256
    assert bottom <= 98
    assert lines.endswith("...")


def test_a_short_text_is_one_line() -> None:
    assert fitted("a red boat", font_for("a red boat", 14), 256, 92) == "a red boat"
    assert fitted("", font_for("", 14), 256, 92) == ""

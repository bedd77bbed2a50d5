"""The style sheet: text and charts can be read in light, in the dark and on paper (WCAG 2.2, 1.4.3 and 1.4.11)."""

import re
from pathlib import Path

import pytest

import reports

STYLE = (Path(reports.__file__).parent / "templates/style.css").read_text(encoding="utf-8")
THEMES = [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_and_white() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark", "paper"])
def test_every_theme_is_legible(theme: dict[str, str]) -> None:
    assert theme.keys() == THEMES[0].keys()
    for ground in ("paper", "card"):
        for name in ("ink", "muted", "good", "bad", "unclear", "link"):
            assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
        for name in (key for key in theme if key.startswith("series-")):
            assert contrast(theme[name], theme[ground]) >= 3, (name, ground)
    for ground in ("mark", "gone"):
        assert contrast(theme["ink"], theme[ground]) >= 4.5, ground

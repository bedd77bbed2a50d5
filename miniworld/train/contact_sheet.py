"""The card's picture: naive / three good / three harmful / nine terms for each family, by the shipped pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from miniworld.grammar import holdout_prompts
from miniworld.train.evaluate import Terms, conditions
from miniworld.train.export import RENDER_DEFAULTS
from miniworld.train.generate import draw
from miniworld.vocabulary import FAMILIES, STYLE_WORDS, SUBJECTS

ROWS = ("naive", "three good", "three harmful", "nine terms")
_COLUMNS = 5
_CELL, _GAP, _MARGIN = 64, 2, 108
_ENLARGE = 2
_COLOURS = 160
"""Palette size of the PNG: the sheet is for looking at, and the repository has a size limit."""


def contact_sheet(pipeline: Any, sets: dict[str, Terms], target: Path) -> None:
    """Draw held-out prompts under the four conditions, with the same seed along a column, and write a PNG."""
    height = len(FAMILIES) * len(ROWS) * (_CELL + _GAP)
    sheet = Image.new("RGB", (_COLUMNS * (_CELL + _GAP), height), "white")
    labels = []
    for group, family in enumerate(FAMILIES):
        prompts = [p for p in holdout_prompts(1, 240) if p.family == family]
        start = group * _COLUMNS
        chosen = [
            next(p for p in prompts if p.scene.subject == SUBJECTS[(start + k) % len(SUBJECTS)])
            for k in range(_COLUMNS)
        ]
        for row, name in enumerate(ROWS):
            terms = conditions(family, sets)[name]
            images = draw(
                pipeline, [", ".join((p.prompt, *terms)) for p in chosen], list(range(_COLUMNS)), **RENDER_DEFAULTS
            )
            top = (group * len(ROWS) + row) * (_CELL + _GAP)
            for column, image in enumerate(images):
                sheet.paste(image, (column * (_CELL + _GAP), top))
            labels.append((top, f"{STYLE_WORDS[family]}\n{name}"))
    large = sheet.resize((sheet.width * _ENLARGE, sheet.height * _ENLARGE), Image.Resampling.NEAREST)
    page = Image.new("RGB", (large.width + _MARGIN, large.height), "white")
    page.paste(large, (_MARGIN, 0))
    pen = ImageDraw.Draw(page)
    for top, text in labels:
        pen.multiline_text((6, top * _ENLARGE + 48), text, fill="black", font_size=14)
    page.quantize(_COLOURS).save(target, optimize=True)

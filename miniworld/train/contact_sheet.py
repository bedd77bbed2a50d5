"""The card's picture: naive / three good / three harmful / nine terms for each family, by a shipped pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from miniworld.grammar import holdout_prompts
from miniworld.train.conditions import ROWS, Terms, conditions
from miniworld.train.generate import draw
from miniworld.train.pipelines import RENDER_DEFAULTS
from miniworld.vocabulary import FAMILIES, PLACE_PHRASES, STYLE_WORDS, SUBJECTS

_COLUMNS = 5
_BLOCKS = 2
"""Families beside one another."""
_CELL, _GAP = 128, 4
"""Pictures are shown at twice their size, without smoothing."""
_MARGIN, _HEAD = 74, 62
_COLOURS = 256
"""Palette size of the PNG, a quarter of the bytes of full colour; not dithered, lest it add speckle."""


def contact_sheet(pipeline: Any, sets: dict[str, Terms], target: Path) -> None:
    """Draw held-out prompts under the four conditions, with the same seed along a column, and write a PNG."""
    width, height = _MARGIN + _COLUMNS * (_CELL + _GAP) + 3 * _GAP, _HEAD + len(ROWS) * (_CELL + _GAP) + 3 * _GAP
    page = Image.new("RGB", (_BLOCKS * width, len(FAMILIES) // _BLOCKS * height), "white")
    for index, family in enumerate(FAMILIES):
        block = _block(pipeline, family, sets, index * _COLUMNS)
        page.paste(block, (index % _BLOCKS * width, index // _BLOCKS * height))
    page.quantize(_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def _block(pipeline: Any, family: str, sets: dict[str, Terms], start: int) -> Image.Image:
    """One family: a column for each prompt, a row for each condition."""
    prompts = [p for p in holdout_prompts(1, 240) if p.family == family]
    wanted = [SUBJECTS[(start + k) % len(SUBJECTS)] for k in range(_COLUMNS)]
    chosen = [next(p for p in prompts if p.scene.subject == subject) for subject in wanted]
    size = _MARGIN + _COLUMNS * (_CELL + _GAP), _HEAD + len(ROWS) * (_CELL + _GAP)
    block = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(block)
    pen.text((4, 4), f"{STYLE_WORDS[family]}; three good: {', '.join(sets[family])}", fill="black", font_size=15)
    for column, prompt in enumerate(chosen):
        words = f"{prompt.scene.colour} {prompt.scene.subject}\n{PLACE_PHRASES[prompt.scene.place][0]}"
        pen.multiline_text((_MARGIN + column * (_CELL + _GAP) + 2, 28), words, fill="black", font_size=13, spacing=1)
    for row, name in enumerate(ROWS):
        texts = [", ".join((p.prompt, *conditions(family, sets)[name])) for p in chosen]
        top = _HEAD + row * (_CELL + _GAP)
        pen.multiline_text((4, top + _CELL // 2 - 14), name.replace(" ", "\n"), fill="black", font_size=14)
        for column, image in enumerate(draw(pipeline, texts, list(range(_COLUMNS)), RENDER_DEFAULTS)):
            large = image.resize((_CELL, _CELL), Image.Resampling.NEAREST)
            block.paste(large, (_MARGIN + column * (_CELL + _GAP), top))
    return block

"""The contact sheet: held-out prompts in rows; naive, initial and best instruction in columns, on the same seed."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from core.records import NAIVE, Prompt
from experiments.fonts import fitted, font_for
from graph.pictures import restore_pictures
from graph.workbench import INITIAL, Workbench

TILE = 256
TEXT = 92
MARGIN = 16
ROWS = 8
_INK, _PAPER = (28, 28, 30), (250, 250, 248)


@dataclass(frozen=True)
class Cell:
    """One picture with the prompt it was drawn from."""

    image: Path | None
    prompt: str


def draw_contact_sheet(bench: Workbench, best: str, path: Path) -> None:
    """Draw the sheet from the run's test pictures (the first seed of each prompt) and save it as PNG."""
    columns = {"your prompt": NAIVE, "initial instruction": INITIAL, f"best instruction ({best})": best}
    rows = [
        (prompt, [_cell(bench, arm, prompt) for arm in columns.values()])
        for prompt in chosen_prompts(bench.prompts("test"), ROWS)
    ]
    lost = restore_pictures(bench, [cell.image.stem for _, cells in rows for cell in cells if cell.image])
    rows = [(prompt, [_without(cell, lost) for cell in cells]) for prompt, cells in rows]
    sheet = compose(list(columns), rows)
    sheet.save(path, format="PNG", optimize=True)


def chosen_prompts(prompts: list[Prompt], count: int) -> list[Prompt]:
    """Return the first prompts of every group in turn, sorted by group, `count` in all."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.group, []).append(prompt)
    ranked = sorted((place, group) for group, part in groups.items() for place in range(len(part)))[:count]
    return [groups[group][place] for group, place in sorted((group, place) for place, group in ranked)]


def _cell(bench: Workbench, arm: str, prompt: Prompt) -> Cell:
    found = bench.store.rows(
        "SELECT render.key, render.prompt FROM render JOIN block ON block.id = render.block_id"
        " WHERE arm = ? AND prompt_id = ? AND split = 'test' AND error = '' ORDER BY block.place LIMIT 1",
        [arm, prompt.id],
    )
    if not found:
        return Cell(None, "(failed)")
    return Cell(bench.images.path(found[0]["key"]), found[0]["prompt"])


def _without(cell: Cell, lost: Collection[str]) -> Cell:
    return Cell(None, cell.prompt) if cell.image and cell.image.stem in lost else cell


def compose(headings: list[str], rows: list[tuple[Prompt, list[Cell]]]) -> Image.Image:
    """Lay out the sheet: a heading a column, a picture and its prompt a cell."""
    width = MARGIN + len(headings) * (TILE + MARGIN)
    height = 2 * MARGIN + 24 + len(rows) * (TILE + TEXT + MARGIN)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        pen.text((MARGIN + column * (TILE + MARGIN), MARGIN), heading, fill=_INK, font=font_for(heading, 18))
    for number, (prompt, cells) in enumerate(rows):
        top = 2 * MARGIN + 24 + number * (TILE + TEXT + MARGIN)
        for column, cell in enumerate(cells):
            left = MARGIN + column * (TILE + MARGIN)
            if cell.image is not None:
                sheet.paste(_tile(cell.image), (left, top))
            text = f"[{prompt.group}] {cell.prompt}" if prompt.group and column == 0 else cell.prompt
            font = font_for(text, 14)
            pen.multiline_text((left, top + TILE + 6), fitted(text, font, TILE, TEXT), fill=_INK, font=font)
    return sheet


def _tile(path: Path) -> Image.Image:
    with Image.open(path) as image:
        picture = image.convert("RGB")
    scale = TILE / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)

"""Drawing what `brushup refine` answered: each user's prompt and its refinement, side by side on the same seed."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import miniworld
from core.errors import BadInput, BrushupError
from core.interfaces import Renderer, Scorer
from core.records import Prompt, RenderRequest
from core.seeding import derive_seed
from core.text import text_id
from experiments.contact_sheet import Cell, compose
from experiments.drawing import Drawing, open_drawing

SHEET = "contact_sheet.png"
SHEET_ROWS = 24


def draw_answers(
    home: Path, rows: Sequence[Mapping[str, Any]], folder: Path, *, renderer: str | None = None, seed: int = 0
) -> Path:
    """Draw every refinement and its user's prompt; return the contact sheet of the first ones.

    `NAME-naive.png` and `NAME-refined.png` are whole pictures, where NAME is the row's place and variant. Pictures come
    from the home's cache where they are there.

    Args:
        home: whose cache.
        rows: of `experiments.answers`; those with an error are left out.
        folder: where to; made if it is not there.
        renderer: see `rendering.load_renderer`; None = the miniworld's.
        seed: diffusion seeds are functions of it and the user's prompt.

    Raises:
        BadInput: nothing to draw, no such renderer, or the folder cannot be written.
        BrushupError: no picture could be drawn.
    """
    good = [row for row in rows if row["refined"]]
    if not good:
        raise BadInput("--render: got no refined prompt, expected at least one; see the errors")

    def models() -> tuple[Renderer, Sequence[Scorer]]:
        from rendering import load_renderer

        return load_renderer(renderer or str(miniworld.PIPELINE)), ()

    with TemporaryDirectory() as scratch, open_drawing(home, Path(scratch) / "ledger.db", models) as table:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = [_draw(table, row, folder, seed) for row in good]
            if not any(cell.image for cells in lines for cell in cells):
                raise BrushupError(
                    f"the renderer drew no picture ({', '.join(table.errors)}); choose another --renderer"
                )
            titles = [Prompt(text_id(row["naive"]), row["naive"], "") for row in good]
            sheet = compose(["your prompt", "refined"], list(zip(titles, lines, strict=True))[:SHEET_ROWS])
            sheet.save(folder / SHEET)
        except OSError as error:
            raise BadInput(f"cannot write to {folder}: {error.strerror or error}; choose another --pictures") from None
    return folder / SHEET


def _draw(table: Drawing, row: Mapping[str, Any], folder: Path, seed: int) -> list[Cell]:
    number = derive_seed("refine-picture", seed, row["naive"])
    texts = {"naive": row["naive"], "refined": row["refined"]}
    requests = [RenderRequest(row["naive"], number), RenderRequest(row["refined"], number, row["negative"])]
    cells = []
    for (which, text), file in zip(texts.items(), table.draw(requests), strict=True):
        if file is not None:
            shutil.copyfile(file, folder / f"{row['place'] + 1:04}-{row['variant']}-{which}.png")
        cells.append(Cell(file, text if file is not None else f"(failed) {text}"))
    return cells

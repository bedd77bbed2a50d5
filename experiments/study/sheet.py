"""The study that annotators see: shuffled pairs in one self-contained page, and the key that tells what is what.

Page and CSV know neither the run nor the instructions: pairs have numbers, sides are drawn by lot, and pictures are
written anew without their text chunks, which would name the instruction.
"""

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from core.errors import BadInput
from core.records import NAIVE, Prompt
from core.seeding import generator
from core.text import digest
from experiments.contact_sheet import chosen_prompts
from experiments.export import write_export
from experiments.export.source import Source, as_json, open_source
from experiments.folder import RunFolder
from experiments.status import reading
from graph.workbench import FREQUENT, INITIAL
from rendering.cache import ImageCache, png_bytes

KEY_FORMAT = "brushup-study-key/1"
COLUMNS = ("study", "annotator", "pair", "prompt", "preference", "relevance_left", "relevance_right")
RIVALS: Mapping[str, str] = {"naive": NAIVE, "initial": INITIAL, "frequent": FREQUENT}
"""What the best instruction can be compared with."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Study:
    """The three files of a study: the page, the pairs as CSV (also a form to fill in by hand), and the key."""

    page: str
    pairs: str
    key: dict[str, Any]


@dataclass(frozen=True)
class _Pair:
    """One prompt with the pictures of two arms, on one block; `left` and `right` are arms."""

    prompt: Prompt
    block: str
    left: str
    right: str
    pictures: Mapping[str, bytes]


def make_study(folder: RunFolder, *, pairs: int, against: str = "naive") -> Study:
    """Make a study of a finished run: its best instruction against another way to write prompts, on test prompts.

    Prompts are taken from all groups alike; which ones, their order and their sides are functions of the run.

    Args:
        folder: the run.
        pairs: how many prompts at most, one pair each.
        against: a name of `RIVALS`.

    Raises:
        BadInput: no result yet, no such rival, `pairs` below 1, or no prompt has both pictures.
    """
    if against not in RIVALS:
        raise BadInput(f"--against is {against!r}; expected one of: {', '.join(RIVALS)}")
    if pairs < 1:
        raise BadInput(f"--pairs is {pairs}; expected at least 1")
    source = open_source(folder)
    best, rival = source.best["id"], RIVALS[against]
    if best == rival:
        raise BadInput(f"the best instruction of run {folder.name!r} is the {against} one; choose another --against")
    chosen = list(_pairs(source, best, rival, pairs))
    if not chosen:
        raise BadInput(
            f"no test prompt of run {folder.name!r} has pictures of both {best} and {rival}; "
            f"if they were pruned, run it again: `brushup optimize --from {folder.name}`"
        )
    numbered = {f"p{number:03d}": pair for number, pair in enumerate(chosen, start=1)}
    study = digest([folder.name, best, rival, [[pair.prompt.id, pair.left] for pair in chosen]], 12)
    return Study(_page(study, numbered), _csv(study, numbered), _key(source, study, rival, numbered))


def _pairs(source: Source, best: str, rival: str, count: int) -> Iterator[_Pair]:
    evidence, config = source.evidence, source.config
    images = ImageCache(source.folder.cache(config.storage.cache) / "images")
    lots = generator("study", config.run.holdout_seed, best, rival)
    prompts = [prompt for prompt in evidence.prompts.values() if prompt.split == "test"]
    blocks = sorted(
        (block for block in evidence.blocks.values() if block.split == "test"), key=lambda block: block.place
    )
    found: dict[str, tuple[str, dict[str, bytes]]] = {}
    for block in blocks:
        if block.prompt_id not in found:
            pictures = {arm: _picture(source, images, arm, block.id) for arm in (best, rival)}
            there = {arm: picture for arm, picture in pictures.items() if picture is not None}
            if len(there) == len(pictures):
                found[block.prompt_id] = block.id, there
    chosen = chosen_prompts([prompt for prompt in prompts if prompt.id in found], count)
    for place in lots.permutation(len(chosen)):
        prompt = chosen[int(place)]
        left, right = (best, rival) if lots.random() < 0.5 else (rival, best)
        yield _Pair(prompt, found[prompt.id][0], left, right, found[prompt.id][1])


def _picture(source: Source, images: ImageCache, arm: str, block: str) -> bytes | None:
    """Return an arm's picture of a block as PNG without any text in it; None when there is none."""
    row = source.evidence.drawn.get((arm, block))
    path = images.get(row["key"]) if row and not row["error"] else None
    if path is None:
        return None
    with Image.open(path) as image:
        return png_bytes(image)


def _page(study: str, pairs: Mapping[str, _Pair]) -> str:
    content = {
        "id": study,
        "pairs": [
            {"id": number, "prompt": pair.prompt.text, **{side: _data(pair, side) for side in ("left", "right")}}
            for number, pair in pairs.items()
        ],
    }
    template = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    return template.replace("__STUDY__", json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"))


def _data(pair: _Pair, side: str) -> str:
    return "data:image/png;base64," + base64.b64encode(pair.pictures[getattr(pair, side)]).decode()


def _csv(study: str, pairs: Mapping[str, _Pair]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for number, pair in pairs.items():
        writer.writerow({"study": study, "pair": number, "prompt": csv_cell(pair.prompt.text)})
    return file.getvalue()


def csv_cell(text: str) -> str:
    """Return text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def key_name(study: str) -> str:
    """Return the name of the key's file in the run's folder."""
    return f"study-{study}.key.json"


def _key(source: Source, study: str, rival: str, pairs: Mapping[str, _Pair]) -> dict[str, Any]:
    with reading(source.folder) as store:
        names = [row["scorer"] for row in store.rows("SELECT DISTINCT scorer FROM score ORDER BY scorer")]
        scores = {name: store.raw_scores(name, "test") for name in names}
    return {
        "format": KEY_FORMAT,
        "study": study,
        "run": source.folder.name,
        "best": source.best["id"],
        "rival": rival,
        "pairs": {
            number: {
                "prompt_id": pair.prompt.id,
                "left": pair.left,
                "right": pair.right,
                "scores": {
                    name: {arm: table[arm][pair.block] for arm in (pair.left, pair.right)}
                    for name, table in scores.items()
                    if all(pair.block in table.get(arm, {}) for arm in (pair.left, pair.right))
                },
            }
            for number, pair in pairs.items()
        },
    }


def write_study(study: Study, page: Path, folder: RunFolder) -> tuple[Path, Path, Path]:
    """Write page and CSV beside each other and the key into the run's folder, and return their paths.

    Raises:
        BadInput: they cannot be written, or the page is not to be called .html.
    """
    if page.suffix.lower() not in {".html", ".htm"}:
        raise BadInput(f"--output is {page}; expected a name that ends in .html")
    paths = page, page.with_suffix(".csv"), folder.path / key_name(study.key["study"])
    for path, content in zip(paths, (study.page, study.pairs, as_json(study.key)), strict=True):
        write_export(path, content)
    return paths

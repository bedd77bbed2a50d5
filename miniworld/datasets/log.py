"""Writing a gallery's log in DiffusionDB's layout, one part after another.

``DIR/part-000001/<uuid>.png`` and ``DIR/part-000001/part-000001.json`` with ``{file: {p, se, c, st, sa}}``, 1000
pictures a part (poloclub/diffusiondb, README). A part is written beside its place and renamed, so it is there whole or
not at all; whole parts are not drawn again; a second process waits until the first is done. Batches never cross parts,
so a killed and repeated run ends with the same bytes as one that went through (on one machine and with one number of
threads: float32 values depend on them).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.locks import locked
from miniworld.datasets.gallery import GallerySize, Render, plan
from miniworld.datasets.source import Source
from rendering.cache import png_bytes

PART = 1000
"""Pictures a part."""
LOG_FILE = "log.json"
_LOCK = ".lock"

log = logging.getLogger(__name__)


def write_log(folder: Path, size: GallerySize, source: Source, *, part_size: int = PART) -> dict[str, Any]:
    """Draw what is still missing of a log.

    Args:
        folder: A new or empty folder, or one with an earlier, perhaps unfinished log of the same arguments.
        size: Which prompts, and how many pictures of each.
        source: What draws.
        part_size: Pictures a part; other than 1000 only in tests.

    Returns:
        The contents of ``log.json``.

    Raises:
        BadInput: Too many prompts, a folder that holds something else or cannot be written, or a pipeline that draws
            fewer pictures than it was asked for.
    """
    renders = plan(size)
    parts = [renders[start : start + part_size] for start in range(0, len(renders), part_size)]
    about: dict[str, Any] = {
        "arguments": {"prompts": size.prompts, "renders": size.renders, "seed": size.seed},
        "pipeline": {
            "revision": source.revision,
            "steps": source.steps,
            "guidance": source.guidance,
            "sampler": source.sampler,
        },
        "counts": {
            "naive": size.naive,
            "professional": size.professional,
            "pictures": size.pictures,
            "parts": len(parts),
        },
    }
    try:
        _refuse_others(folder, about)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK, lambda: log.info("waiting for the process that draws %s", folder)):
            _refuse_others(folder, about)
            _draw(folder, about, parts, source)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"--out {folder}: got {reason!r}, expected a writable folder with free space") from error
    return about


def _draw(folder: Path, about: dict[str, Any], parts: Sequence[Sequence[Render]], source: Source) -> None:
    """Draw what is missing, after what a killed run left half done was cleared away."""
    for partial in folder.glob(_partial("part-*")):
        shutil.rmtree(partial)
    if not (folder / LOG_FILE).exists():
        _write_json(folder / LOG_FILE, {**about, "complete": False})
    for number, part in enumerate(parts, 1):
        name = f"part-{number:06}"
        if _is_whole(folder / name, _entries(part, source)):
            log.info("%s of %d: there already", name, len(parts))
        else:
            _write_part(folder, name, part, source)
            log.info("%s of %d: %d pictures", name, len(parts), len(part))
    about["complete"] = True
    _write_json(folder / LOG_FILE, about)


def _refuse_others(folder: Path, about: Mapping[str, Any]) -> None:
    """Raise BadInput where a folder holds anything but this log, begun or not."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadInput(f"--out {folder} is a file, expected a folder; name another")
    file = folder / LOG_FILE
    if not file.exists():
        if any(entry.name not in (_LOCK, _partial(LOG_FILE)) for entry in folder.iterdir()):
            raise BadInput(f"--out {folder} holds something else, expected a new or empty folder; name another")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    found = found if isinstance(found, dict) else {}
    other = [key for key, value in about.items() if found.get(key) != value]
    if other:
        raise BadInput(
            f"--out {folder} holds a log with other {' and '.join(other)}, expected the same; name another folder"
        )


def _entries(part: Sequence[Render], source: Source) -> dict[str, dict[str, Any]]:
    return {
        render.file: {
            "p": render.prompt,
            "se": render.seed,
            "c": source.guidance,
            "st": source.steps,
            "sa": source.sampler,
        }
        for render in part
    }


def _is_whole(folder: Path, entries: Mapping[str, Any]) -> bool:
    """Tell whether a part is there with all its pictures; one that lost some is drawn again."""
    try:
        found = json.loads((folder / f"{folder.name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return bool(found == entries) and all((folder / name).is_file() for name in entries)


def _write_part(folder: Path, name: str, part: Sequence[Render], source: Source) -> None:
    images = source.draw([render.prompt for render in part], [render.seed for render in part])
    if len(images) != len(part):
        raise BadInput(f"--pipeline gave {len(images)} pictures for {len(part)} prompts, expected one each")
    partial, place = folder / _partial(name), folder / name
    partial.mkdir()
    for render, image in zip(part, images, strict=True):
        _write(partial / render.file, png_bytes(image))
    _write_json(partial / f"{name}.json", _entries(part, source))
    if place.exists():
        shutil.rmtree(place)
    partial.rename(place)


def _partial(name: str) -> str:
    """Name what is being written beside its place; readers of parts pass over it."""
    return f".{name}.partial"


def _write_json(path: Path, content: object) -> None:
    partial = path.with_name(_partial(path.name))
    _write(partial, f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode())
    os.replace(partial, path)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

"""A refiner's folder: `refiner.json` says what it is, `CARD.md` says it to people, the rest are its weights.

Weights are safetensors and nothing in a folder is ever executed. A folder is written beside its place and renamed, so
it is there whole or not at all. Importing this module costs nothing (no torch).
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors.numpy import load_file, save_file

from core.errors import BadInput
from core.text import one_line

MANIFEST_FILE, CARD_FILE = "refiner.json", "CARD.md"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What `refiner.json` holds.

    Attributes:
        kind: a name of `refiner.REFINERS`; it decides who reads the rest of the folder.
        label: one line on what the refiner is, shown wherever it answers ("trained on the miniworld, ...").
        licence: of the weights, with that of the data where it differs.
        base: hub id that training started from, "" when from scratch.
        settings: what the kind needs to answer: template, prefix, decoding.
        training: the config of every stage it went through, by the stage's name, in order.
        data: what it learned from, in counts and names.
        figures: results on held-out data, by name.
        half: weights are stored as float16, at half the size, and computed with as whatever they are loaded to.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    kind: str
    label: str
    licence: str
    base: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    half: bool = False


_MANIFEST = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """Return what a refiner's folder says of itself.

    Raises:
        BadInput: no folder, no readable `refiner.json`, or one of another format.
    """
    file = Path(folder) / MANIFEST_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = content.pop("format")
        if found != FORMAT:
            raise BadInput(f"{file}: got format {found!r}, expected {FORMAT}; use the brushup that wrote it")
        return _MANIFEST.validate_python(content)
    except OSError as error:
        raise BadInput(
            f"{folder}: got no readable {MANIFEST_FILE} ({error.strerror}), expected a refiner's folder; check the path"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise BadInput(
            f"{file}: {place}: {first['msg']}; expected a refiner's manifest, copy the folder anew"
        ) from None
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file}: got {one_line(error)!r}, expected a JSON object with 'format'; copy the folder anew"
        ) from None


def check_free(folder: Path) -> None:
    """Raise BadInput where a refiner's folder would take the place of something that is none."""
    if folder.exists() and not (folder / MANIFEST_FILE).is_file() and not _is_empty(folder):
        raise BadInput(f"{folder}: got something that is no refiner, expected a new or empty folder; name another")


@contextmanager
def writing(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """Give a folder to write weights to; on success it gets manifest and card and takes the place of `folder`.

    An earlier refiner in that place is replaced; killed between the two renames, it is left as `FOLDER.earlier`. After
    an exception nothing has changed.

    Raises:
        BadInput: the place holds something that is no refiner, or cannot be written to.
    """
    folder = Path(folder).absolute()
    check_free(folder)
    partial = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise BadInput(
            f"{folder}: got {error.strerror!r}, expected a folder that can be written; name another"
        ) from None
    try:
        yield partial
        if manifest.half:
            _halve(partial)
        text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2, ensure_ascii=False, allow_nan=False)
        (partial / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
        (partial / CARD_FILE).write_text(card(manifest, _weigh(partial)), encoding="utf-8")
        _flush(partial)
        earlier = folder.with_name(folder.name + ".earlier")
        if folder.exists():
            shutil.rmtree(earlier, ignore_errors=True)
            folder.rename(earlier)
        partial.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def card(manifest: Manifest, size: int) -> str:
    """Return `CARD.md`: what it is, what it learned from, how, and what it reached; `size` in bytes."""
    lines = [
        f"# Refiner: {manifest.kind}",
        "",
        manifest.label,
        "",
        f"- Licence: {manifest.licence}",
        f"- Started from: {manifest.base or 'random weights'}",
        f"- Size: {size / 2**20:.1f} MiB (safetensors{', float16' if manifest.half else ''})",
        "",
    ]
    for title, rows in (("Data", manifest.data), ("Results", manifest.figures), ("Settings", manifest.settings)):
        if rows:
            lines += [f"## {title}", "", *(f"- {name}: {_shown(value)}" for name, value in rows.items()), ""]
    for stage, config in manifest.training.items():
        lines += [f"## Training: {stage}", "", "```json", json.dumps(config, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _weigh(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def _halve(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        weights = {name: w.astype(np.float16) if w.dtype == np.float32 else w for name, w in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})


def _flush(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())

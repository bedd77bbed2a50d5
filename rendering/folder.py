"""Looking at a pipeline folder before anything of it is loaded: is it complete, is it safe, which contents has it."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.text import digest

INDEX = "model_index.json"
OWN_LIBRARIES = frozenset({"miniworld.patch_vae"})
"""Modules of this project that a folder may name; everything else comes from diffusers and transformers."""
LIBRARIES = frozenset({"diffusers", "transformers"}) | OWN_LIBRARIES
UNUSED = frozenset({"safety_checker", "feature_extractor"})
"""Components that text-to-image rendering does not need; they are not loaded (None is given instead)."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")
_REMEDY = "point --renderer to a whole diffusers pipeline folder"


@dataclass(frozen=True)
class PipelineFolder:
    """A folder that passed the checks.

    Attributes:
        path: the folder.
        pipeline: the pipeline's class name.
        components: (library, class name) by component, without those that are absent or unused.
        unused: components that are not loaded: those that text-to-image rendering does not need, and those that the
            folder names and leaves out (SD3 without T5).
    """

    path: Path
    pipeline: str
    components: dict[str, tuple[str, str]]
    unused: tuple[str, ...]

    def files(self) -> Iterator[Path]:
        """Yield the files that decide what is drawn, in a fixed order."""
        yield self.path / INDEX
        for name in sorted(self.components):
            yield from sorted(p for p in (self.path / name).rglob("*") if p.is_file() and not _hidden(p, self.path))

    def revision(self) -> str:
        """Return the hub commit when the folder is a hub snapshot, else a digest of the files' contents."""
        if self.path.parent.name == "snapshots" and _COMMIT.fullmatch(self.path.name):
            return self.path.name
        return digest([[p.relative_to(self.path).as_posix(), file_digest(p)] for p in self.files()])


@dataclass(frozen=True)
class HubId:
    """A repository of the hub; revision None is its main branch."""

    repo: str
    revision: str | None


def hub_id(source: str) -> HubId | None:
    """Read `org/name` or `org/name@revision`; None when it is neither."""
    found = _HUB_ID.fullmatch(source)
    return HubId(found["repo"], found["revision"]) if found else None


def inspect_folder(path: Path) -> PipelineFolder:
    """Check a pipeline folder and return what it holds. Nothing is imported or executed.

    Raises:
        BadInput: no such folder, no or a broken `model_index.json`, a missing component, a component from a library
            that is not on the allow-list, or code among the files.
    """
    if not path.is_dir():
        raise BadInput(f"renderer {path}: got no folder, expected one with {INDEX}; {_REMEDY}")
    index = _read_object(path / INDEX)
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or not pipeline.isidentifier():
        raise BadInput(f"{path / INDEX}: got _class_name {pipeline!r}, expected a diffusers class name; {_REMEDY}")
    components: dict[str, tuple[str, str]] = {}
    unused: list[str] = []
    for name, value in index.items():
        if name.startswith("_") or not _is_component(value):
            continue
        library, class_name = value
        if name in UNUSED or library is None:
            unused.append(name)
        else:
            components[name] = (library, class_name)
            _check_component(path, name, library, class_name)
    if not components:
        raise BadInput(f"{path / INDEX}: got no components, expected a whole pipeline; {_REMEDY}")
    return PipelineFolder(path, pipeline, components, tuple(unused))


def _is_component(value: object) -> bool:
    """Tell `["library", "Class"]` and `[null, null]` from plain configuration values, as diffusers does."""
    return isinstance(value, list) and len(value) == 2 and all(v is None or isinstance(v, str) for v in value)


def _check_component(path: Path, name: str, library: str, class_name: str | None) -> None:
    where = f"{path / INDEX}: component {name!r}"
    if library not in LIBRARIES:
        allowed = ", ".join(sorted(LIBRARIES))
        raise BadInput(f"{where}: got library {library!r}, expected one of {allowed}; nothing else is imported")
    if not (name.isidentifier() and isinstance(class_name, str) and class_name.isidentifier()):
        raise BadInput(f"{where}: got class {class_name!r}, expected a class name; {_REMEDY}")
    folder = path / name
    if not folder.is_dir():
        raise BadInput(f"{where}: got no folder {folder}, expected its files there; {_REMEDY}")
    code = next(folder.rglob("*.py"), None)
    if code is not None:
        raise BadInput(f"{where}: got code ({code.name}), expected weights and settings only; remote code is never run")
    for config in sorted(folder.glob("*config.json")):
        if "auto_map" in _read_object(config):
            raise BadInput(
                f"{config}: got an auto_map (remote code), expected plain settings; remote code is never run"
            )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"renderer {path.parent}: got no {path.name}, expected one; {_REMEDY}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: got a file that is not JSON ({error}), expected an object; copy it anew") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path}: got {type(content).__name__}, expected an object; copy it anew")
    return content


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's contents, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A run's folder, `HOME/NAME/`. Importing this module costs nothing, so that the folder exists within a second."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from core.errors import BadInput
from core.locks import locked
from core.text import digest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = ("cache", "prompts.db")
_TAKEN = ("refined", "refiners", "evaluations")


@dataclass(frozen=True)
class RunFolder:
    """Where everything of one run lies."""

    home: Path
    name: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.home / self.name

    @property
    def database(self) -> Path:
        """The run's facts."""
        return self.path / "run.db"

    @property
    def checkpoints(self) -> Path:
        """LangGraph's checkpoints, in a file of their own."""
        return self.path / "checkpoints.db"

    @property
    def config_file(self) -> Path:
        """The configuration the run was started with."""
        return self.path / "config.json"

    @property
    def summary_file(self) -> Path:
        """The result."""
        return self.path / "summary.json"

    @property
    def instructions_file(self) -> Path:
        """The tuned instruction set."""
        return self.path / "instructions.json"

    @property
    def comparison_file(self) -> Path:
        """What `brushup compare` found, when this is a comparison's folder and no run's."""
        return self.path / "comparison.json"

    def cache(self, where: str) -> Path:
        """Return the cache folder: the home's, or the run's own."""
        return (self.path if where == "run" else self.home) / "cache"


def check_name(name: str) -> str:
    """Return a run's name.

    Raises:
        BadInput: not a plain name, so it could leave the home folder.
    """
    if not _NAME.fullmatch(name) or name.startswith(_RESERVED) or name in _TAKEN:
        got = name if len(name) <= 80 else name[:77] + "..."
        raise BadInput(
            f"--run is {got!r}; expected letters, digits, '.', '_' or '-' (at most 64), not beginning with "
            f"{' or '.join(_RESERVED)}, and not {' or '.join(_TAKEN)}; choose another name"
        )
    return name


def create_folder(home: Path, name: str | None, config: dict[str, Any]) -> RunFolder:
    """Create a run's folder with its configuration in it, atomically: it exists whole or not at all.

    Raises:
        BadInput: the name is bad or taken, or the disk refuses.
    """
    if name is not None:
        check_name(name)
    try:
        home.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(home, name or _free_name(home))
        if folder.path.exists():
            raise BadInput(
                f"run {folder.name!r} exists in {home}; choose another --run, or `brushup resume {folder.name}`"
            )
        draft = home / f".{folder.name}.{os.getpid()}"
        draft.mkdir()
        try:
            write_json(draft / "config.json", config)
            draft.rename(folder.path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise BadInput(f"cannot write to {home}: {error.strerror or error}; choose another --home") from None
    return folder


def existing_folder(home: Path, name: str) -> RunFolder:
    """Return the folder of a run that was started.

    Raises:
        BadInput: there is no such run.
    """
    folder = RunFolder(home, check_name(name))
    if not folder.config_file.is_file():
        known = ", ".join(run.name for run in all_folders(home)) or "none"
        raise BadInput(f"no run {name!r} in {home}; runs there are: {known}")
    return folder


def all_folders(home: Path) -> Iterator[RunFolder]:
    """Yield the runs under a home, by name."""
    for config in sorted(home.glob("*/config.json")):
        if _NAME.fullmatch(config.parent.name):
            yield RunFolder(home, config.parent.name)


def remove_folder(folder: RunFolder) -> None:
    """Remove a run that never began, so that its name is free again."""
    shutil.rmtree(folder.path, ignore_errors=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that brushup wrote.

    Raises:
        BadInput: missing or damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {path}: {error}; the file is missing or damaged") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path} does not hold a JSON object; it was not written by brushup")
    return value


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically (temp file, fsync, rename): readers see the old file or the new one.

    Raises:
        OSError: the disk refuses.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; when the disk refuses, nothing is left behind.

    Raises:
        OSError: the disk refuses.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _free_name(home: Path) -> str:
    return next(name for k in range(1, 10**6) if not (home / (name := f"run-{k}")).exists())


def contents_of(path: Path) -> str:
    """Return a digest of what a file holds, or of the names and sizes of a folder's files; "" if it cannot be read."""
    try:
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.is_file())
            return digest(sorted((file.relative_to(path).as_posix(), file.stat().st_size) for file in files))
        with path.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()[:16]
    except OSError:
        return ""


@contextmanager
def alone_in(folder: Path, flag: str) -> Iterator[None]:
    """Keep other commands out of a folder, which is made if it is not there; the lock goes with the process.

    Args:
        folder: of one command's work.
        flag: names another one.

    Raises:
        BadInput: the folder cannot be written, or another command is at work there.
    """

    def refuse() -> NoReturn:
        raise BadInput(f"{folder} is being worked on by another process; wait for it, or name another {flag}")

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"{folder}: got {error.strerror!r}, expected a folder that can be written; name another {flag}"
        ) from None
    with locked(folder / ".lock", refuse):
        yield

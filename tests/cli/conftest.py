"""Calls of `brushup` inside the test process, and a home with a finished run in it that tests copy."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import experiments.run
from cli.main import main
from experiments.wiring import Models
from tests.fakes import fake_models
from tests.integration.world import stub_config

SMALL = {
    "run": {"rounds": 2, "batch_size": 4},
    "evaluation": {"validation_prompts": 6, "test_prompts": 20, "test_seeds": 1, "top": 2},
}


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document that is the whole of stdout."""
        return json.loads(self.out)

    def refused(self, *parts: str) -> None:
        """Assert exit 2 with exactly one line on stderr that holds the parts, and nothing on stdout."""
        assert self.code == 2, self
        assert self.out == "", self.out
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("brushup: ")
        assert "Traceback" not in self.err
        assert len(lines[0]) < 700, "an error line is for reading"
        for part in parts:
            assert part in self.err, f"{part!r} is not in {self.err!r}"


Brushup = Callable[..., Result]


@pytest.fixture
def brushup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Brushup:
    """Call `brushup` with arguments, in this process."""

    def call(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["brushup", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return Result(int(left.value.code or 0), out, err)

    return call


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    """Let runs use fake models; returns those of the next run."""
    fakes = fake_models()
    monkeypatch.setattr(experiments.run, "load_models", lambda config, api_base=None: fakes)
    return fakes


def write_toml(tmp: Path, **sections: dict[str, Any]) -> Path:
    """Write prompts, a home with a corpus, and a small run's configuration (sections are merged in)."""
    merged = {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {**SMALL, **sections}}
    raw = stub_config(tmp, **merged).model_dump(mode="json", exclude_defaults=True)
    lines = []
    for section, values in raw.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    path = tmp / "run.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def snapshot(folder: Path) -> dict[str, str]:
    """Return every path under a folder with a digest of its content; empty if there is no folder."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for name, path in files.items()
        if not name.endswith(("-wal", "-shm"))  # SQLite's own bookkeeping of readers
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/one`, completed, and the files it was made from. Do not write to it."""
    tmp = tmp_path_factory.mktemp("finished")
    config = write_toml(tmp)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments.run, "load_models", lambda config, api_base=None: fake_models())
        patch.setattr(
            sys, "argv", ["brushup", "optimize", str(config), "--run", "one", "--home", str(tmp / "runs"), "--quiet"]
        )
        with pytest.raises(SystemExit) as left:
            main()
    assert left.value.code == 0
    return tmp


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished home, to be written to, without its cache."""
    shutil.copytree(finished / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "runs"


@pytest.fixture
def warm(finished: Path, home: Path) -> Path:
    """A copy of the finished home with its cache, in which runs are quick."""
    shutil.copytree(finished / "runs" / "cache", home / "cache")
    return home

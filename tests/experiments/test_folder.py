"""Run folders: whole or not at all, never outside the home."""

from pathlib import Path

import pytest

from core.errors import BadInput
from experiments.folder import all_folders, create_folder, existing_folder, write_json


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "cache", "x" * 65, "a b"])
def test_a_name_that_could_leave_the_home_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="--run is"):
        existing_folder(tmp_path, name)


def test_a_run_is_created_once(tmp_path: Path) -> None:
    folder = create_folder(tmp_path / "runs", "one", {"run": {}})
    assert folder.config_file.is_file()
    with pytest.raises(BadInput, match=r"run 'one' exists .*brushup resume one"):
        create_folder(tmp_path / "runs", "one", {})
    assert [run.name for run in all_folders(tmp_path / "runs")] == ["one"]


def test_runs_without_a_name_are_numbered(tmp_path: Path) -> None:
    assert [create_folder(tmp_path, None, {}).name for _ in range(3)] == ["run-1", "run-2", "run-3"]


def test_a_file_in_place_of_the_home_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BadInput, match=r"cannot write to .*; choose another --home"):
        create_folder(tmp_path / "runs", "one", {})


def test_json_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1\n}\n'

"""Files of answers: cut anywhere they are gone on with, and what is not theirs is left alone. Names of refiners."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import miniworld
from core.errors import BadInput
from core.records import Refinement
from experiments.answers import Source, answer_file, trained_source
from refiner.constraints import Wishes
from refiner.folder import MANIFEST_FILE

PROMPTS = ["a red boat", 'the "request": "sea"', "赤い船"]


def source(identity: str = "one") -> Source:
    def ask(prompts: Sequence[str]) -> list[list[Refinement]]:
        return [[Refinement(prompt, f"{prompt}, {word}") for word in ("gold", "blue")] for prompt in prompts]

    return Source("a toy", identity, ask, batch=2)


def written(path: Path, identity: str = "one", prompts: Sequence[str] = PROMPTS) -> bytes:
    answer_file(path, source(identity), prompts, lambda done: None)
    return path.read_bytes()


def test_a_file_that_was_cut_anywhere_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.jsonl")
    assert [json.loads(line)["variant"] for line in whole.splitlines()] == [0, 1] * 3
    breaks = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in (*range(0, len(whole), 17), *breaks, *(place + 1 for place in breaks)):
        (tmp_path / "cut.jsonl").write_bytes(whole[:size])
        assert written(tmp_path / "cut.jsonl") == whole, size


@pytest.mark.parametrize("rows", [0, 1, 2, 6])
def test_what_is_not_a_row_of_ours_is_never_cut_off(tmp_path: Path, rows: int) -> None:
    lines = written(tmp_path / "whole.jsonl").splitlines(keepends=True)
    others = written(tmp_path / "other.jsonl", "another").splitlines()
    tails = [b"my precious notes", b"{}", b'{"place": 1, "variant": 7, "var', b"\xff", b"\0\0", others[min(rows, 5)]]
    for tail in tails:
        path = tmp_path / "notes.txt"
        path.write_bytes(b"".join(lines[:rows]) + tail)
        before = path.read_bytes()
        with pytest.raises(BadInput, match=r"notes\.txt \(--output\) holds something other"):
            written(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["nosuch", "shipped/nosuch", "nosuch=weights"])
def test_a_word_that_names_no_refiner_is_answered_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("refiner.load_refiner", lambda place: pytest.fail(f"{place} is asked for"))
    for folder in ("refiners/mine", "refiners/.data", "refiners/half"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("refiners/mine", "refiners/.data"):
        (tmp_path / folder / MANIFEST_FILE).write_text("{}")
    shipped = ", ".join(sorted(folder.name for folder in miniworld.REFINERS.iterdir()))
    with (
        pytest.raises(BadInput, match=rf"'{name}': .* \(mine\), a shipped one \({shipped}\)"),
        trained_source(tmp_path, name, Wishes(), 1, 0),
    ):
        pass

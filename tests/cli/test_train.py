"""`brushup train` from the command line; recipes are tested in tests/experiments/test_train.py."""

from pathlib import Path

import pytest

from tests.cli.conftest import Brushup
from tests.experiments.test_train import LANGUAGE, world

__all__ = ["world"]
pytestmark = pytest.mark.slow
ARTIST = 'Mary-Ann "Zoë" O\'Neil\\\\'
"""With what TOML and Python write in different ways."""
SETTINGS = [word for setting in LANGUAGE for word in ("--set", setting)]


def test_training_and_using(brushup: Brushup, world: object, tmp_path: Path) -> None:
    terms = ["--block-terms", "made by a famous artist", "--block-terms", "8k", "--block-terms", ARTIST]
    done = brushup("train", "neuroprompts", *SETTINGS, *terms, "--home", tmp_path)
    assert done.code == 0, done.err
    assert done.out == ""
    assert "sft is done" in done.err
    assert "blocked term" in done.err
    assert "trained on the miniworld" in done.err
    assert f"--refiner {tmp_path / 'refiners/neuroprompts'}" in done.err
    used = brushup("refine", "a red boat by the sea", "--refiner", "neuroprompts", "--home", tmp_path)
    assert used.out.startswith("a red boat by the sea")
    assert "trained on the miniworld" in used.err
    again = brushup("train", "neuroprompts", *SETTINGS, *terms, "--home", tmp_path, "--json", "--quiet")
    assert again.json["refiner"] == str(tmp_path / "refiners/neuroprompts")
    assert set(again.json) == {"refiner", "label", "data", "figures"}
    brushup("train", "neuroprompts", "--home", tmp_path, "--quiet").refused("another recipe", "--out")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["gpt"], ("'gpt'", "prip, beautifulprompt")),
        (["prip", "no.toml"], ("no config file at no.toml",)),
        (["prip", "--set", "data.min_clip=high"], ("min_clip", "'high'")),
        (["prip", "--set", "data.log=/no/such", "--set", "data.pivot=miniworld"], ("/no/such", "DiffusionDB parts")),
        (["neuroprompts", "--set", "data.prompts=/no/such.txt"], ("no file at /no/such.txt",)),
        (["neuroprompts", "paper"], ("metadata.parquet",)),
        (["beautifulprompt", "--set", "data.pairs=/no/such.jsonl"], ("/no/such.jsonl",)),
        (["neuroprompts", "--block-terms", " "], ("--block-terms",)),
        (["neuroprompts", "--set", "reward.renderer=/no/such", *SETTINGS], ("/no/such",)),
    ],
    ids=lambda value: " ".join(map(str, value))[:40],
)
def test_what_cannot_be_trained_is_one_line(
    brushup: Brushup, tmp_path: Path, arguments: list[str], parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    brushup("train", *arguments, "--home", tmp_path, "--quiet").refused(*parts)
    assert not (tmp_path / "refiners" / arguments[0]).exists()

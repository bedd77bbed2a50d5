"""Refiner folders: whole or not at all, and errors in one line."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import BadInput
from refiner import REFINERS, load_refiner
from refiner.folder import CARD_FILE, MANIFEST_FILE, Manifest, read_manifest, writing

MANIFEST = Manifest(
    "prip",
    "trained on the miniworld",
    "Apache-2.0",
    settings={"queries": 16},
    training={"user_pivot": {"learning_rate": 0.001}},
    data={"pairs": 12},
    figures={"eval_loss": 0.25},
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    with writing(tmp_path / "r", MANIFEST) as place:
        (place / "x.safetensors").write_bytes(b"12")
    assert read_manifest(tmp_path / "r") == MANIFEST
    card = (tmp_path / "r" / CARD_FILE).read_text()
    for said in ("trained on the miniworld", "Apache-2.0", '"learning_rate": 0.001', "pairs: 12", "eval_loss: 0.25"):
        assert said in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_a_failure_leaves_the_earlier_refiner(tmp_path: Path) -> None:
    with writing(tmp_path / "r", MANIFEST) as place:
        (place / "old").touch()
    with pytest.raises(IsADirectoryError), writing(tmp_path / "r", MANIFEST) as place:
        place.write_text("not a file")
    assert (tmp_path / "r" / "old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadInput, match="no refiner"), writing(tmp_path, MANIFEST):
        pass
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ('{"kind": "prip"}', "'format'"),
        ('{"format": 9}', "got format 9, expected 1"),
        ('{"format": 1, "kind": "prip", "label": "x"}', "licence: Field required"),
        ('{"format": 1, "kind": "prip", "label": "x", "licence": "y", "code": "z"}', "code: Unexpected"),
        ('{"format": 1, "kind": "magic", "label": "x", "licence": "y"}', "expected one of prip, causal"),
    ],
)
def test_a_bad_manifest_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(content)
    with pytest.raises(BadInput, match=re.escape(said)) as error:
        load_refiner(tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_without_manifest_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no readable refiner\.json"):
        load_refiner(tmp_path)


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    with writing(tmp_path / "r", MANIFEST):
        pass
    assert json.loads((tmp_path / "r" / MANIFEST_FILE).read_text())["format"] == 1
    assert set(REFINERS) >= {"prip", "causal"}


def test_half_precision_halves_float32_alone(tmp_path: Path) -> None:
    wide, counts = np.linspace(-2, 2, 7, dtype=np.float32), np.arange(3)
    with writing(tmp_path / "r", replace(MANIFEST, half=True)) as folder:
        save_file({"wide": wide, "counts": counts}, folder / "model.safetensors", metadata={"format": "pt"})
    found = load_file(tmp_path / "r" / "model.safetensors")
    assert (found["wide"] == wide.astype(np.float16)).all()
    assert found["wide"].dtype == np.float16
    assert found["counts"].dtype == counts.dtype
    assert "float16" in (tmp_path / "r" / CARD_FILE).read_text()
    assert read_manifest(tmp_path / "r").half

"""Reading DiffusionDB parts and prompt pairs as people have them."""

import json
import logging
import subprocess
import sys

import pytest

from core.errors import BadInput
from prompt_db.diffusiondb import LoggedImage, read_parts
from prompt_db.prompt_pairs import PromptPair, read_pairs

ENTRY = {"p": "geodesic landscape, tadao ando, 4 k, ", "se": 38753269, "c": 12.0, "st": 50, "sa": "k_lms"}
"""The example of DiffusionDB's README."""
NAME = "f3501e05-aef7-4225-a9e9-f516527408ac.png"


def write_part(folder, content, *, pictures=(NAME,)):
    folder.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / f"{folder.name}.json").write_text(text, encoding="utf-8")
    for name in pictures:
        (folder / name).write_bytes(b"picture")


def test_the_readmes_example_is_read(tmp_path):
    write_part(tmp_path / "part-000001", {NAME: ENTRY})
    expected = LoggedImage(tmp_path / "part-000001" / NAME, ENTRY["p"], 38753269, 12.0, 50, "k_lms")
    assert list(read_parts(tmp_path)) == [expected]
    assert list(read_parts(tmp_path / "part-000001")) == [expected]


def test_parts_come_in_order_with_webp_and_other_spellings_of_numbers(tmp_path):
    write_part(tmp_path / "part-000010", {"b.webp": {**ENTRY, "p": "last é 漢", "new": 1}}, pictures=["b.webp"])
    write_part(tmp_path / "part-000002", {"a.png": {**ENTRY, "se": 7.0, "c": 7, "st": "20"}}, pictures=["a.png"])
    (tmp_path / ".part-000003.partial").mkdir()
    (tmp_path / ".part-000003.partial" / "part-000003.json").write_text("half")
    (tmp_path / "metadata.parquet").write_bytes(b"")
    images = list(read_parts(tmp_path))
    assert [(image.path.name, image.seed, image.guidance, image.steps) for image in images] == [
        ("a.png", 7, 7.0, 20),
        ("b.webp", 38753269, 12.0, 50),
    ]
    assert images[1].prompt == "last é 漢"


def test_missing_pictures_are_left_out_reported_and_counted(tmp_path, caplog):
    write_part(tmp_path / "part-000001", {"gone.png": ENTRY, NAME: ENTRY, "lost.png": ENTRY})
    write_part(tmp_path / "part-000002", {NAME: ENTRY})
    missing = []
    with caplog.at_level(logging.WARNING):
        assert len(list(read_parts(tmp_path, missing))) == 2
    assert [path.name for path in missing] == ["gone.png", "lost.png"]
    assert len(caplog.records) == 1
    assert "2 pictures are missing, the first gone.png" in caplog.text


def test_a_folder_without_parts_is_refused_at_once(tmp_path):
    with pytest.raises(BadInput, match=r"got no part-\*\.json"):
        read_parts(tmp_path)
    with pytest.raises(BadInput, match="got no folder"):
        read_parts(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([ENTRY], "the whole file"),
        ({NAME: "text"}, NAME),
        ({NAME: {"p": "x"}}, f"{NAME} se: Field required"),
        ({NAME: {**ENTRY, "p": None}}, f"{NAME} p"),
        ({NAME: {**ENTRY, "se": -1}}, f"{NAME} se"),
        ({NAME: {**ENTRY, "se": 1.5}}, f"{NAME} se"),
        ({NAME: {**ENTRY, "c": float("nan")}}, f"{NAME} c"),
        ({"../../secret.png": ENTRY}, "plain name"),
        ({"/etc/passwd": ENTRY}, "plain name"),
        ({"..": ENTRY}, "plain name"),
        ({"": ENTRY}, "plain name"),
    ],
)
def test_a_broken_part_is_an_error_of_one_line(tmp_path, content, match):
    write_part(tmp_path / "part-000001", content)
    with pytest.raises(BadInput, match=match) as caught:
        list(read_parts(tmp_path))
    assert "\n" not in str(caught.value)
    assert "part-000001.json" in str(caught.value)


def test_a_part_in_another_encoding_is_an_error(tmp_path):
    write_part(tmp_path / "part-000001", "{}")
    (tmp_path / "part-000001" / "part-000001.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(BadInput, match="not JSON"):
        list(read_parts(tmp_path))


def test_pairs_of_our_own_and_of_beautifulprompt_are_read(tmp_path):
    ours = tmp_path / "pairs.jsonl"
    ours.write_text(
        '{"low": "red cat anime", "high": "a red cat,\\nanime, cel shading", "family": "anime"}\n'
        '{"low": "red cat anime", "high": "a red cat, anime, cel shading", "family": "anime"}\n'
        'oops\n{"low": "a"}\n{"low": "a", "high": ""}\n{"low": 3, "high": "b"}\n'
    )
    report = read_pairs(ours)
    assert report.pairs == (PromptPair("red cat anime", "a red cat, anime, cel shading", "anime"),)
    assert report.duplicates == 1
    assert [number for number, _ in report.bad] == [3, 4, 5, 6]
    assert dict(report.bad)[5] == "high: empty"
    released = tmp_path / "data.json"
    released.write_text(json.dumps([{"raw_prompt": "a cat", "prompt": "a cat, artstation", "pick_score": 20.1}]))
    assert read_pairs(released).pairs == (PromptPair("a cat", "a cat, artstation"),)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.txt", "x", r"ends in '\.txt'"),
        ("a.json", "{", "not JSON"),
        ("a.json", "{}", "holds a JSON dict"),
        ("a.json", '["x"]', "no usable pair .*row 1, not an object"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", '{"text": "x"}', "has neither low and high nor raw_prompt and prompt"),
    ],
)
def test_a_file_without_pairs_is_an_error_of_one_line(tmp_path, name, text, match):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=match) as caught:
        read_pairs(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_the_readers_cost_no_torch():
    code = "import sys, prompt_db.diffusiondb, prompt_db.prompt_pairs; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

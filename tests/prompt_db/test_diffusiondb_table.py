"""DiffusionDB's metadata table: unsafe rows and people stay out."""

from pathlib import Path

import pytest

from core.errors import BadInput
from prompt_db.diffusiondb_table import read_sessions, read_table

pyarrow = pytest.importorskip("pyarrow")
pytestmark = pytest.mark.slow
ANN, BOB, GONE = "a" * 64, "b" * 64, "deleted_account"
ROWS = [  # prompt, image_nsfw, prompt_nsfw, user_name, minutes
    ("a cat", 0.1, 0.0, ANN, 0),
    ("a dog", 0.1, 0.0, BOB, 1),
    ("a cat, oil painting", 0.5, 0.1, ANN, 29),
    ("a cat", 0.1, 0.0, ANN, 5),
    ("something else", 0.1, 0.0, ANN, 100),
    ("blurred", 2.0, 0.0, ANN, 30),
    ("rude", 0.0, 0.51, ANN, 31),
    ("unknown", None, 0.0, ANN, 31),
    ("", 0.0, 0.0, ANN, 31),
    ("x" * 3000, 0.0, 0.0, ANN, 31),
    ("by nobody", 0.1, 0.0, GONE, 2),
    ("by a ghost", 0.1, 0.0, None, None),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    from pyarrow import parquet

    prompt, image, text, user, minutes = zip(*ROWS, strict=True)
    times = [None if m is None else 1_660_000_000_000_000 + m * 60_000_000 for m in minutes]
    columns = {
        "image_name": pyarrow.array([f"{i}.png" for i in range(len(ROWS))]),
        "prompt": pyarrow.array(prompt),
        "user_name": pyarrow.array(user),
        "timestamp": pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
        "image_nsfw": pyarrow.array(image, pyarrow.float32()),
        "prompt_nsfw": pyarrow.array(text, pyarrow.float32()),
    }
    path = tmp_path / "metadata.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_unsafe_and_unusable_rows_are_counted(table: Path) -> None:
    report = read_table(table)
    assert report.prompts == (
        "a cat", "a dog", "a cat, oil painting", "a cat", "something else", "by nobody", "by a ghost",
    )  # fmt: skip
    assert report.rows == len(ROWS) == len(report.prompts) + sum(report.dropped.values())
    assert report.dropped == {"NSFW": 2, "no NSFW score": 1, "empty": 1, "too long": 1}
    assert "rude" in read_table(table, most_nsfw=0.6).prompts


def test_sessions_end_at_a_pause_and_hold_no_people(table: Path) -> None:
    assert read_sessions(table) == [("a cat", "a cat, oil painting"), ("something else",), ("a dog",)]
    assert read_sessions(table, gap=10 * 60)[:2] == [("a cat",), ("a cat, oil painting",)]


def test_other_files_are_refused(tmp_path: Path) -> None:
    from pyarrow import parquet

    with pytest.raises(BadInput, match="no file at"):
        read_table(tmp_path / "none.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput, match=r"expected DiffusionDB's metadata\.parquet"):
        read_table(broken)
    parquet.write_table(pyarrow.table({"prompt": ["a"]}), broken)
    with pytest.raises(BadInput, match="got no columns image_nsfw, prompt_nsfw"):
        read_table(broken)

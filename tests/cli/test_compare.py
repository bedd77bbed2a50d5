"""What `brushup compare` and `brushup gradients` print, and how they refuse flags."""

from typing import Any

import pytest

from cli.compare import _split, show_comparison
from cli.gradients import _show
from core.errors import BadInput

LEVEL = {
    "gain": 0.051,
    "ci95": [0.032, 0.07],
    "regret": 0.004,
    "renders_to_90": 140.0,
    "censored": 1,
    "at_least": False,
    "renders": 297.5,
    "seconds": 41.2,
    "usd": 0.0,
}


def found(**changes: Any) -> dict[str, Any]:
    return {
        "budget_renders": 300,
        "replicates": 3,
        "scorer": "hpsv2:miniworld",
        "test": {"prompts": 20, "seeds": 1},
        "policies": {"ucb1": LEVEL, "greedy": {**LEVEL, "at_least": True, "usd": None}},
        "pairs": [{"a": "ucb1", "b": "greedy", "difference": 0.01, "ci95": [-0.01, 0.03], "p_adjusted": 0.25}],
        "batch_sizes": {},
        "batch_size_pairs": [],
        "configs": {},
        "config_pairs": [],
        **changes,
    }


def test_tables_go_to_stdout_in_full_width(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(found())
    out = capsys.readouterr().out
    [ucb1, pair] = [line for line in out.splitlines() if "ucb1" in line]
    assert [cell.strip() for cell in ucb1.strip("│").split("│")] == [
        *("ucb1", "+5.10", "[+3.20, +7.00]", "0.40", "140", "1 of 3", "298", "41", "$0.00"),
    ]
    assert [cell.strip() for cell in pair.strip("│").split("│")] == [
        "ucb1",
        "greedy",
        "+1.00",
        "[-1.00, +3.00]",
        "0.250",
    ]
    assert ">= 140" in out
    assert "unknown" in out
    assert "batch size" not in out


def test_batch_sizes_have_a_table_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(found(policies={}, pairs=[], batch_sizes={"1": LEVEL, "10": LEVEL}))
    out = capsys.readouterr().out
    assert "batch size" in out
    assert "policy" not in out


def test_gradients_without_a_claim_show_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    none = {"precision": None, "recall": {"mean": 0.25, "ci95": [0.1, 0.4]}, "chance": 0.2}
    row = {"gradients": 3, "results": 15.0, "helpful": none, "harmful": none}
    _show({"batch_sizes": {"5": {"first": row, "last": row}}})
    [first] = [line for line in capsys.readouterr().out.splitlines() if "first" in line]
    assert [cell.strip() for cell in first.strip("│").split("│")][3:7] == ["15", "-", "0.25 [0.10, 0.40]", "0.20"]


def test_lists_are_split_at_commas() -> None:
    assert _split(" 1, 5,10,", int, "--batch-sizes") == [1, 5, 10]
    assert _split("", str, "--policies") == []
    with pytest.raises(BadInput, match="--batch-sizes is '1,two'"):
        _split("1,two", int, "--batch-sizes")

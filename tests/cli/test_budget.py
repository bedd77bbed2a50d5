"""Caps, prices, `--dry-run` and the line that says what a run cost, as a user meets them."""

import json
from pathlib import Path

import pytest

import experiments.dry_run
from experiments.verdict import cost_line
from experiments.wiring import Models
from tests.cli.conftest import Brushup, snapshot, write_toml
from tests.fakes import fake_models

LEDGER = {
    "renders": 1008,
    "renders_cached": 0,
    "llm_calls": 1964,
    "llm_calls_cached": 0,
    "llm_calls_estimated": 0,
    "prompt_tokens": 400_000,
    "completion_tokens": 12_000,
    "llm_tokens": 412_000,
    "usd": 0.31,
    "unknown": {},
    "startup_seconds": 4.0,
    "loop_seconds": 50.2,
}


def test_the_cost_is_one_plain_line_and_unknown_is_said() -> None:
    assert cost_line(LEDGER) == "cost: 1,008 pictures, 1,964 LLM calls, 412,000 tokens, $0.31, 54 s"
    assert "USD unknown" in cost_line({**LEDGER, "usd": None})
    assert "$0.00012" in cost_line({**LEDGER, "usd": 0.00012})
    assert "$0.00," in cost_line({**LEDGER, "usd": 0.0})
    assert "1,008 pictures (8 from the cache)" in cost_line({**LEDGER, "renders_cached": 8})
    killed = cost_line({**LEDGER, "unknown": {"render": 16, "llm": 2, "tokens": 900, "usd": None}})
    assert killed.endswith("; and at most 16 pictures, 2 LLM calls cut off by a kill")


def test_a_run_ends_with_what_it_cost_and_show_repeats_it(brushup: Brushup, models: Models, warm: Path) -> None:
    done = brushup("optimize", write_toml(warm.parent), "--run", "two", "--home", warm)
    [line] = [line for line in done.err.splitlines() if line.startswith("cost: ")]
    assert "pictures" in line
    assert "$0.00" in line
    assert "cost: " in brushup("show", "one", "--home", warm).err


@pytest.mark.parametrize(("flag", "amount"), [("--max-llm-tokens", 5000), ("--max-usd", 0.0001)])
def test_a_cap_below_what_the_evaluation_needs_is_exit_3_and_leaves_nothing(
    brushup: Brushup, models: Models, tmp_path: Path, flag: str, amount: float
) -> None:
    config = write_toml(tmp_path, agents={"price_in": 1.0, "price_out": 2.0})
    done = brushup("optimize", config, "--run", "one", "--home", tmp_path / "runs", "--quiet", flag, amount)
    assert done.code == 3
    assert f"{flag} is {amount}" in done.err
    assert "nothing was spent" in done.err
    assert not (tmp_path / "runs/one").exists()


def test_a_cap_on_usd_without_a_price_is_refused_with_the_fix(brushup: Brushup, tmp_path: Path) -> None:
    config, home = write_toml(tmp_path), tmp_path / "runs"
    before = snapshot(tmp_path)
    model = ["--llm", "llama3", "--api-base", "http://localhost:9/v1"]
    refused = brushup("optimize", config, "--home", home, "--max-usd", 1, *model)
    refused.refused("--max-usd", "the price of llama3", "is unknown", "give --price-in and --price-out")
    brushup("optimize", config, "--home", home, "--price-in", 1).refused("--price-out", "both prices")
    brushup("optimize", config, "--home", home, "--max-usd", "inf").refused("budget.max_usd (--max-usd)")
    brushup("optimize", config, "--home", home, "--max-seconds", 0).refused("budget.max_seconds (--max-seconds) is 0")
    assert snapshot(tmp_path) == before


def test_resume_raises_caps_and_refuses_to_lower_them(brushup: Brushup, models: Models, warm: Path) -> None:
    caps = ["--max-llm-tokens", 9_000_000, "--max-usd", 5, "--max-seconds", 10_000, "--price-in", 1, "--price-out", 2]
    assert brushup("resume", "one", "--home", warm, "--quiet", *caps).code == 0
    stored = json.loads((warm / "one/config.json").read_text())
    assert stored["budget"]["max_usd"] == 5
    assert stored["agents"]["price_in"] == 1
    lower = brushup("resume", "one", "--home", warm, "--max-usd", 4)
    lower.refused("--max-usd is 4", "run 'one' has 5", "only be raised")
    assert json.loads((warm / "one/config.json").read_text()) == stored


def test_dry_run_prints_a_plan_or_json_and_creates_no_run(
    brushup: Brushup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(experiments.dry_run, "load_models", lambda config, api_base=None: fake_models())
    config = write_toml(tmp_path)
    before = snapshot(tmp_path)
    shown = brushup("optimize", config, "--home", tmp_path / "runs", "--dry-run", "--max-renders", 60)
    assert shown.code == 0
    assert shown.out == ""
    for part in ("pictures", "LLM calls", "tokens", "USD", "seconds", "thrown away", "would be refused: --max-renders"):
        assert part in shown.err, part
    plan = brushup("optimize", config, "--home", tmp_path / "runs", "--dry-run", "--json")
    assert plan.err == ""
    assert plan.json["expected"]["renders"] <= plan.json["worst"]["renders"]
    assert snapshot(tmp_path) == before

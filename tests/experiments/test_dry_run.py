"""`--dry-run`: what a run will take, before anything is spent; it leaves nothing behind."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.progress import Silent
from core.records import ChatRequest, Completion
from experiments.dry_run import dry_run
from experiments.run import run
from experiments.wiring import Models
from tests.cli.conftest import SMALL, snapshot
from tests.fakes import fake_models
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow

KEYS = {"renders", "scores", "llm_calls", "llm_tokens", "usd", "seconds"}


@dataclass
class Silenced:
    """A chat model that must not be asked."""

    name: str = "silenced"

    async def complete(self, request: ChatRequest) -> Completion:
        raise AssertionError("a dry run calls no LLM")


def silent_models() -> Models:
    fakes = fake_models()
    return Models(Silenced(), fakes.renderer, fakes.scorer, fakes.watched)


def test_two_probes_no_llm_call_and_nothing_left_behind(tmp_path: Path) -> None:
    config, models = stub_config(tmp_path, **SMALL, agents={"llm": "silenced"}), silent_models()
    before = snapshot(tmp_path)
    plan = dry_run(tmp_path / "runs", config, models=models)
    assert snapshot(tmp_path) == before
    assert len(models.renderer.drawn) == 2
    assert set(plan["expected"]) == set(plan["worst"]) == KEYS
    assert plan["expected"]["usd"] is None
    assert plan["worst"]["usd"] is None
    assert plan["refused"] == ""


def test_without_a_home_none_is_made(tmp_path: Path) -> None:
    config = stub_config(tmp_path, **SMALL, prompts={"corpus": None})
    plan = dry_run(tmp_path / "elsewhere", config, models=fake_models())
    assert not (tmp_path / "elsewhere").exists()
    assert plan["expected"]["usd"] == 0.0


def test_what_a_run_takes_lies_between_expected_and_worst(tmp_path: Path) -> None:
    config = stub_config(tmp_path, **SMALL, agents={"price_in": 1.0, "price_out": 2.0})
    plan = dry_run(tmp_path / "runs", config, models=fake_models())
    ledger = run(stub_folder(tmp_path, config), config, Silent(), started=time.time(), models=fake_models())["ledger"]
    for key in KEYS - {"seconds"}:
        assert ledger[key] <= plan["worst"][key], key
        assert plan["expected"][key] <= plan["worst"][key], key
    for key in ("renders", "scores", "llm_calls"):
        assert ledger[key] == pytest.approx(plan["expected"][key], rel=0.25), key


def test_prices_make_the_money_known_and_caps_too_small_are_said(tmp_path: Path) -> None:
    prices = {"llm": "silenced", "price_in": 1.0, "price_out": 4.0}
    config = stub_config(tmp_path, **SMALL, agents=prices, budget={"max_usd": 0.001})
    plan = dry_run(tmp_path / "runs", config, models=silent_models())
    assert 0 < plan["expected"]["usd"] < plan["worst"]["usd"]
    assert plan["price"] == {"in": 1.0, "out": 4.0}
    assert plan["caps"]["max_usd"] == 0.001
    assert "--max-usd is 0.001; the evaluation and one pull need" in plan["refused"]

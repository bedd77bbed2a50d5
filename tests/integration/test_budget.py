"""S4: under any cap a run either ends with evidence, or refuses with nothing spent; and no counted cap is overshot."""

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agents.offline.model import OfflineChatModel
from core.errors import BudgetReached
from core.pricing import nano, sent_at_most
from core.progress import Silent
from core.records import ChatRequest, Completion
from core.seeding import derive_seed
from experiments.folder import RunFolder
from experiments.run import run
from experiments.wiring import Models
from prompt_db.caps import CAP_KINDS, Caps
from prompt_db.ledger import Ledger
from prompt_db.run_store import RunStore
from tests.fakes import FakeRenderer, fake_models
from tests.integration.world import stub_config, stub_folder

logger = logging.getLogger(__name__)
RUNS = 20
SMALL: dict[str, dict[str, Any]] = {
    "run": {"rounds": 3, "batch_size": 2, "pulls_per_round": 3, "children": 1},
    "evaluation": {"validation_prompts": 4, "test_prompts": 20, "test_seeds": 1, "top": 1},
    "agents": {"llm": "fake", "price_in": 1.0, "price_out": 4.0},
    "storage": {"cache": "run"},
}


@dataclass
class RandomUsage:
    """Answers like the offline agents; usage is random up to the worst case, some replies are unusable, some silent."""

    name: str = "fake"
    asked: list[ChatRequest] = field(default_factory=list)
    offline: OfflineChatModel = field(default_factory=OfflineChatModel)

    async def complete(self, request: ChatRequest) -> Completion:
        self.asked.append(request)
        rng = Random(derive_seed("usage", request.messages[-1].content, request.replicate))  # noqa: S311
        await asyncio.sleep(0)
        answer = await self.offline.complete(request)
        text = "I had rather not." if rng.random() < 0.1 else answer.text
        if rng.random() < 0.05:
            return Completion(text)
        sent, received = rng.randint(1, sent_at_most(request)), rng.randint(0, request.max_tokens)
        return Completion(text, sent, received)


def models_with(chat: RandomUsage) -> Models:
    return replace(fake_models(), chat=chat, watched=())


def spent_in(folder, kind: str) -> float:
    store = RunStore.writer(folder.database)
    try:
        return Ledger(store, Caps(), 10**6).spent(kind)
    finally:
        store.close()


@pytest.fixture(scope="module")
def uncapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The folder with the world's files, and what a run without caps spends of each kind."""
    tmp = tmp_path_factory.mktemp("budget")
    config = stub_config(tmp, **SMALL)
    folder = stub_folder(tmp, config, "uncapped")
    run(folder, config, Silent(), started=time.time(), models=models_with(RandomUsage()))
    return tmp, {cap.kind: spent_in(folder, cap.kind) for cap in CAP_KINDS}


def attempt(tmp: Path, name: str, models: Models, budget: dict[str, float]) -> tuple[dict[str, Any] | None, str]:
    """Return the summary of a run, or None with the reason for which it was refused."""
    config = stub_config(tmp, **SMALL, budget=budget)
    try:
        return run(stub_folder(tmp, config, name), config, Silent(), started=time.time(), models=models), ""
    except BudgetReached as error:
        return None, str(error)


@pytest.mark.slow
@pytest.mark.parametrize("cap", [cap for cap in CAP_KINDS if cap.kind != "seconds"], ids=lambda cap: cap.kind)
def test_no_counted_cap_is_ever_overshot(uncapped, cap) -> None:
    tmp, whole = uncapped
    rng, shares, refused = Random(f"caps of {cap.kind}"), [], 0  # noqa: S311
    for number in range(RUNS):
        limit = whole[cap.kind] * (rng.uniform(0.6, 1.1) if cap.kind in {"render", "llm"} else rng.uniform(0.8, 3.0))
        limit = round(limit, 6) if cap.kind == "usd" else round(limit)
        name, models = f"{cap.kind}-{number}", models_with(RandomUsage())
        summary, refusal = attempt(tmp, name, models, {cap.key: limit})
        if summary is None:
            refused += 1
            assert cap.flag in refusal
            assert "nothing was spent" in refusal
            assert not models.chat.asked
            assert not models.renderer.drawn
            continue
        spent = spent_in(RunFolder(tmp / "runs", name), cap.kind)
        assert nano(spent) <= nano(limit), f"{spent} of {limit}"
        shares.append(spent / limit)
        assert summary["status"] == "completed"
        assert summary["holdout"]["best_minus_naive"]["n"] >= 15
    logger.info("%s: %d ended, %d refused, most spent/cap %.4f", cap.kind, len(shares), refused, max(shares))
    assert len(shares) >= 5
    assert refused >= 1


class Slow(FakeRenderer):
    """Takes a tenth of a second a chunk."""

    def render(self, requests):
        time.sleep(0.1)
        return super().render(requests)


@pytest.mark.slow
def test_seconds_stop_the_loop_and_leave_time_for_the_evaluation(tmp_path: Path) -> None:
    sizes = {**SMALL, "run": {"rounds": 300, "batch_size": 2, "pulls_per_round": 3, "children": 1}}
    models = replace(models_with(RandomUsage()), renderer=Slow())
    config = stub_config(tmp_path, **sizes, budget={"max_seconds": 60.0})
    folder = stub_folder(tmp_path, config)
    summary = run(folder, config, Silent(), started=time.time() - 40, models=models)
    assert summary["stop_reason"] == "budget"
    assert summary["holdout"]["best_minus_naive"]["n"] >= 15


def test_seconds_that_loading_has_used_up_refuse_the_run(tmp_path: Path) -> None:
    models = models_with(RandomUsage())
    config = stub_config(tmp_path, **SMALL, budget={"max_seconds": 5.0})
    with pytest.raises(BudgetReached, match=r"--max-seconds is 5; loading the models alone took .* nothing was spent"):
        run(stub_folder(tmp_path, config), config, Silent(), started=time.time() - 10, models=models)
    assert not models.chat.asked
    assert not models.renderer.drawn


def test_out_of_time_in_the_evaluation_a_run_goes_on_under_a_higher_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = FakeRenderer()
    monkeypatch.setattr(Ledger, "_seconds", lambda ledger: 2000.0 if len(late.drawn) > 40 else 1.0)
    config = stub_config(tmp_path, **SMALL, budget={"max_seconds": 1000.0})
    folder = stub_folder(tmp_path, config)
    with pytest.raises(BudgetReached, match=r"2000.0 of 1000.0 s are spent; raise --max-seconds"):
        run(folder, config, Silent(), started=time.time(), models=replace(models_with(RandomUsage()), renderer=late))
    before = len(late.drawn)
    config = stub_config(tmp_path, **SMALL, budget={"max_seconds": 9000.0})
    models = replace(models_with(RandomUsage()), renderer=late)
    summary = run(folder, config, Silent(), started=time.time(), models=models)
    assert summary["holdout"]["best_minus_naive"]["n"] >= 15
    assert summary["ledger"]["renders"] - summary["ledger"]["renders_cached"] == len(late.drawn)
    assert len(late.drawn) > before

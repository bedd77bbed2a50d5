"""Whole runs on the stub world: the loop learns, knows nothing beforehand, keeps its budget, states its evidence."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agents.initial import INITIAL_INSTRUCTION
from core.errors import BrushupError, BudgetReached
from core.progress import Silent
from core.records import NAIVE
from experiments.run import run
from experiments.wiring import Models
from prompt_db.run_store import RunStore
from tests.agents.stub_world import FAMILY, GENERIC, HARMFUL, PHRASES, World
from tests.fakes import FakeRenderer, FakeScorer, fake_models
from tests.integration.world import stub_config, stub_folder

GOOD = [*GENERIC, *(phrase for group in FAMILY.values() for phrase in group)]


def whole_run(tmp: Path, models: Models | None = None, world: World | None = None, **sections: Any) -> dict[str, Any]:
    config = stub_config(tmp, world, **sections)
    folder = stub_folder(tmp, config)
    return run(folder, config, Silent(), started=time.time(), models=models or fake_models(world))


def always(instruction: str) -> list[str]:
    """Return the phrases that an instruction tells the Generator to add."""
    lines = [line for line in instruction.splitlines() if line.startswith(("Always add", "If the prompt"))]
    return [phrase for line in lines for phrase in re.findall(r'"([^"]+)"', line.split("add", 1)[1])]


def read_store(tmp: Path) -> RunStore:
    return RunStore.reader(tmp / "runs" / "one" / "run.db")


def test_the_loop_beats_naive_initial_and_frequent_on_unseen_prompts(tmp_path: Path) -> None:
    summary = whole_run(tmp_path, run={"rounds": 5, "batch_size": 8})
    for rival in ("naive", "initial", "frequent"):
        assert summary["holdout"][f"best_minus_{rival}"]["ci95"][0] > 0, rival
    text = summary["best_instruction"]["text"]
    assert text != INITIAL_INSTRUCTION
    assert len(set(always(text)) & set(GOOD)) >= 3
    assert not set(always(text)) & set(HARMFUL)
    assert summary["ground_truth"] is None


@pytest.mark.slow
def test_watched_scorers_see_the_test_alone_change_nothing_and_warn_when_they_fall(tmp_path: Path) -> None:
    contrary, broken = FakeScorer(name="contrary", sign=-1.0), FakeScorer(name="broken", nan=True)
    summaries = {}
    for name, scorers in {"alone": (), "watched": (contrary, broken)}.items():
        (tmp_path / name).mkdir()
        models = replace(fake_models(), watched=scorers)
        summaries[name] = whole_run(tmp_path / name, models, run={"rounds": 3, "batch_size": 8})
    alone, watched = summaries["alone"], summaries["watched"]
    assert alone["watched"] == {}
    assert watched["best_instruction"] == alone["best_instruction"]
    assert watched["holdout"] == alone["holdout"]
    found, tested = watched["watched"]["contrary"]["best_minus_naive"], watched["holdout"]["best_minus_naive"]
    assert tested["ci95"][0] > 0
    assert found["mean"] == pytest.approx(-tested["mean"])
    assert sum("contrary falls" in text for text in watched["warnings"]) == 1
    pictures = watched["holdout"]["prompts"] * watched["holdout"]["seeds"]
    assert watched["watched"]["broken"]["best"]["failed"] == pictures
    assert len(contrary.scored) == 4 * pictures
    store = read_store(tmp_path / "watched")
    splits = store.rows("SELECT DISTINCT split FROM score JOIN block ON block.id = block_id WHERE scorer = 'contrary'")
    store.close()
    assert splits == [{"split": "test"}]


@pytest.mark.slow
def test_with_the_scorers_sign_flipped_the_loop_ends_on_harmful_phrases(tmp_path: Path) -> None:
    summary = whole_run(tmp_path, fake_models(sign=-1.0), run={"rounds": 5, "batch_size": 8})
    text = summary["best_instruction"]["text"]
    assert len(set(always(text)) & set(HARMFUL)) >= 3, text
    assert not set(always(text)) & set(GENERIC), text


@pytest.mark.slow
def test_with_every_phrase_renamed_to_nonsense_the_structure_is_the_same(tmp_path: Path) -> None:
    """Names are all that changes: same sizes, same pulls, and again the good phrases, under their new names."""
    names = {phrase: f"vorp{chr(97 + k // 5)}{chr(97 + k % 5)} glim" for k, phrase in enumerate(PHRASES)}
    world = World(names=names)
    plain = whole_run(tmp_path / "plain" if (tmp_path / "plain").mkdir() is None else tmp_path, run={"rounds": 5})
    (tmp_path / "nonsense").mkdir()
    odd = whole_run(tmp_path / "nonsense", fake_models(world), world, run={"rounds": 5})
    meant = {name: phrase for phrase, name in names.items()}
    chosen = [meant[name] for name in always(odd["best_instruction"]["text"])]
    assert len(set(chosen) & set(GOOD)) >= 3
    assert not set(chosen) & set(HARMFUL)
    for key in ("renders", "scores"):
        assert abs(odd["ledger"][key] - plain["ledger"][key]) <= 0.2 * plain["ledger"][key]
    shapes = []
    for part in ("plain", "nonsense"):
        arms = json.loads((tmp_path / part / "runs/one/instructions.json").read_text())["instructions"]
        shapes.append([(arm["id"], arm["round"], arm["origin"]) for arm in arms])
    assert shapes[0] == shapes[1]
    assert odd["holdout"]["best_minus_initial"]["ci95"][0] > 0


@pytest.mark.slow
def test_arms_share_blocks_and_scores_are_raw(tmp_path: Path) -> None:
    whole_run(tmp_path)
    store = read_store(tmp_path)
    scores = store.raw_scores("fake-scorer", "train")
    arms = [arm for arm in scores if arm != NAIVE]
    first = {f"train/0.{place}" for place in range(6)}
    for arm in [*arms, NAIVE]:
        assert first <= set(scores[arm]), "an arm's first pull meets batch 0"
    prompts = {prompt.id: prompt.split for prompt in store.prompts()}
    assert all(prompts[block.prompt_id] == block.split for block in store.all_blocks().values())
    assert len({prompt.text for prompt in store.prompts()}) == len(prompts)
    store.close()


@pytest.mark.slow
def test_batch_size_one_works(tmp_path: Path) -> None:
    summary = whole_run(tmp_path, run={"rounds": 2, "batch_size": 1})
    assert summary["status"] == "completed"
    assert summary["holdout"]["best_minus_naive"]["n"] == 24


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["ucb1", "uniform", "eps-greedy", "t3c", "sequential-halving", "racing"])
def test_policies_of_every_kind_run(tmp_path: Path, policy: str) -> None:
    summary = whole_run(tmp_path, run={"rounds": 2, "batch_size": 3}, bandit={"policy": policy})
    assert summary["config"]["bandit"]["policy"] == policy
    parts = summary["variance_components"]
    assert all(parts[name] >= 0 for name in ("arm", "block", "residual"))
    assert 0 <= parts["rho"] < 1


@pytest.mark.slow
def test_the_papers_setting_runs(tmp_path: Path) -> None:
    settings = {"reward": "score", "reward_scale": "none"}
    summary = whole_run(tmp_path, run={"rounds": 2, "batch_size": 5}, bandit=settings)
    assert summary["holdout"]["best"]["mean"] > 0.2


def test_a_budget_stops_the_loop_before_it_is_overshot_and_leaves_a_result(tmp_path: Path) -> None:
    reserve = 4 * 12 + 4 * 24 * 2
    summary = whole_run(tmp_path, run={"rounds": 50, "batch_size": 6}, budget={"max_renders": reserve + 40})
    assert summary["stop_reason"] == "budget"
    assert summary["ledger"]["renders"] <= reserve + 40
    assert summary["holdout"]["best"]["failed"] == 0


@pytest.mark.slow
def test_an_llm_budget_is_kept_too(tmp_path: Path) -> None:
    cap = 3 * 12 + 3 * 24 + 30
    summary = whole_run(tmp_path, run={"rounds": 50, "batch_size": 6}, budget={"max_llm_calls": cap})
    assert summary["stop_reason"] == "budget"
    assert summary["ledger"]["llm_calls"] <= cap


def test_a_budget_too_small_for_any_result_spends_nothing(tmp_path: Path) -> None:
    models = fake_models()
    with pytest.raises(BudgetReached, match=r"--max-renders is 10; .* need \d+"):
        whole_run(tmp_path, models, budget={"max_renders": 10})
    assert isinstance(models.renderer, FakeRenderer)
    assert not models.renderer.drawn


@pytest.mark.slow
def test_a_pool_over_its_cap_retires_arms_but_never_the_leader(tmp_path: Path) -> None:
    whole_run(tmp_path, run={"rounds": 5, "batch_size": 4, "children": 2, "pool_cap": 3})
    arms = json.loads((tmp_path / "runs/one/instructions.json").read_text())
    retired = [arm["id"] for arm in arms["instructions"] if arm["retired"]]
    assert retired
    assert arms["best"] not in retired


def test_nan_scores_end_the_run_with_one_line(tmp_path: Path) -> None:
    models = replace(fake_models(), scorer=FakeScorer(nan=True))
    with pytest.raises(BrushupError, match="no finite score"):
        whole_run(tmp_path, models)


def test_a_renderer_that_draws_nothing_ends_the_run(tmp_path: Path) -> None:
    models = replace(fake_models(), renderer=FakeRenderer(broken=True))
    with pytest.raises(BrushupError, match="drew no picture"):
        whole_run(tmp_path, models)


@pytest.mark.slow
def test_summary_has_every_key_and_the_contact_sheet_is_a_picture(tmp_path: Path) -> None:
    summary = whole_run(tmp_path)
    assert set(summary) >= {
        *("run", "status", "seed", "holdout_seed", "rounds", "config", "warnings", "best_instruction"),
        *("holdout", "ground_truth", "ledger"),
    }
    assert set(summary["best_instruction"]) >= {"id", "parent", "text", "pulls", "mean", "ci95"}
    assert json.loads((tmp_path / "runs/one/summary.json").read_text()) == summary
    with Image.open(tmp_path / "runs/one/contact_sheet.png") as sheet:
        assert sheet.width > 800
        assert sheet.height > 1000


@pytest.mark.slow
def test_another_process_can_follow_a_run(tmp_path: Path) -> None:
    whole_run(tmp_path)
    store = read_store(tmp_path)
    nodes = {row["node"] for row in store.rows("SELECT DISTINCT node FROM event")}
    assert {"pull", "settle", "critique", "modify", "validate", "test", "stop", "done"} <= nodes
    assert store.rows("SELECT at FROM heartbeat")
    store.close()


@pytest.mark.slow
def test_negative_prompts_are_learnt_drawn_scored_and_kept(tmp_path: Path) -> None:
    models = fake_models()
    summary = whole_run(tmp_path, models, agents={"negative": True}, run={"rounds": 5, "batch_size": 8})
    text = summary["best_instruction"]["text"]
    [line] = [line for line in text.splitlines() if line.startswith("In the negative prompt, put:")]
    assert set(re.findall(r'"([^"]+)"', line)) & set(HARMFUL)
    assert summary["holdout"]["best_minus_initial"]["ci95"][0] > 0
    store = read_store(tmp_path)
    rows = store.rows(
        "SELECT render.arm, prompt, render.negative AS drawn, refinement.negative AS written FROM render"
        " JOIN block ON block.id = block_id LEFT JOIN refinement ON refinement.arm = render.arm"
        " AND refinement.prompt_id = block.prompt_id AND refinement.replicate = block.replicate"
    )
    assert {row["drawn"] for row in rows if row["arm"] == NAIVE} == {""}
    refined = [row for row in rows if row["arm"] != NAIVE]
    assert all(row["drawn"] == row["written"] for row in refined)
    best = [row for row in refined if row["arm"] == summary["best_instruction"]["id"]]
    assert all(row["drawn"] for row in best)
    asked = {(request.prompt, request.negative_prompt) for request in models.renderer.drawn}
    assert {(row["prompt"], row["drawn"]) for row in rows} == asked

"""The evidence: validation and test estimates from the stored facts, `summary.json` and `instructions.json`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from PIL import Image

from core.records import NAIVE, Estimate
from experiments.config import RunConfig
from experiments.contact_sheet import draw_contact_sheet
from experiments.folder import RunFolder, write_json
from experiments.health import LoopHistory, falling_scorers, history_of, warnings
from experiments.paired import estimate, lead
from experiments.renderer_facts import renderer_summary, renderer_warnings
from experiments.unread import unread_prompts, unread_warnings
from graph.decide import finalists, winner
from graph.pictures import restore_pictures
from graph.workbench import FREQUENT, INITIAL, Workbench
from prompt_db.ledger import overruns, totals

TRUTH = "truth"
"""Scorer name under which the miniworld's truth is stored; no agent, policy or reward ever reads it."""


def write_results(bench: Workbench, folder: RunFolder, config: RunConfig, *, truth: bool) -> dict[str, Any]:
    """Write `instructions.json`, `contact_sheet.png` and `summary.json`, and return the summary.

    Args:
        bench: a run whose graph has ended.
        folder: where the files go.
        config: the run's configuration.
        truth: whether the miniworld's truth can be asked about the test pictures.
    """
    best, validation = winner(bench)
    if truth:
        add_truth(bench, best)
    write_json(folder.instructions_file, instruction_set(bench, best))
    draw_contact_sheet(bench, best, folder.path / "contact_sheet.png")
    summary = summarise(bench, config, best, validation, truth=truth)
    summary["run"] = folder.name
    write_json(folder.summary_file, summary)
    return summary


def summarise(bench: Workbench, config: RunConfig, best: str, validation: Estimate, *, truth: bool) -> dict[str, Any]:
    """Return the summary; every key is always there."""
    store, plan = bench.store, bench.plan
    instruction = bench.instructions()[best]
    holdout = compare(bench, bench.scorer.name, best)
    ground = compare(bench, TRUTH, best)["best_minus_naive"] if truth else None
    watched = {scorer.name: compare(bench, scorer.name, best) for scorer in bench.watched}
    unread = unread_prompts(store)
    return {
        "run": "",
        "status": "completed",
        "stop_reason": store.fact("stop_reason"),
        "seed": plan.seed,
        "holdout_seed": plan.holdout_seed,
        "rounds": int(store.fact("rounds_done") or 0),
        "config": config.model_dump(mode="json"),
        "warnings": [
            *renderer_warnings(store),
            *unread_warnings(unread, bench.renderer.window, best),
            *warnings(loop_history(bench)),
            *falling_scorers(holdout, watched),
            *overruns(store),
        ],
        "best_instruction": {
            "id": best,
            "parent": instruction.parent,
            "text": instruction.text,
            "pulls": bench.bandit().pulls(best),
            **validation.to_json(),
        },
        "holdout": {
            "prompts": plan.test_prompts,
            "seeds": plan.test_seeds,
            "scorer": bench.scorer.name,
            **holdout,
        },
        "by_group": by_group(bench, best),
        "renderer": renderer_summary(store, bench.renderer),
        "unread": [asdict(item) for item in unread],
        "variance_components": bench.bandit().components(),
        "watched": watched,
        "ground_truth": {"best_minus_naive": ground} if ground else None,
        "ledger": dict(totals(store)),
    }


def compare(bench: Workbench, scorer: str, best: str) -> dict[str, Any]:
    """Return the test's means and paired differences: seeds averaged within a prompt, prompts resampled."""
    scores = bench.store.raw_scores(scorer, "test")
    prompt_of = {block.id: block.prompt_id for block in bench.store.all_blocks().values()}
    arms = {"naive": NAIVE, "initial": INITIAL, "frequent": FREQUENT, "best": best}
    result: dict[str, Any] = {}
    for label, arm in arms.items():
        mine = scores.get(arm, {})
        result[label] = {"mean": _estimate(bench, mine, prompt_of).mean, "failed": _failed(bench, mine)}
    for label in ("naive", "initial", "frequent"):
        ahead = lead(scores.get(best, {}), scores.get(arms[label], {}))
        result[f"best_minus_{label}"] = dict(_estimate(bench, ahead, prompt_of).to_json())
    return result


def by_group(bench: Workbench, best: str) -> dict[str, Any]:
    """Return best minus naive in each group (category, style family) of the test's prompts; {} without groups."""
    scores = bench.store.raw_scores(bench.scorer.name, "test")
    ahead = lead(scores.get(best, {}), scores.get(NAIVE, {}))
    groups = {prompt.id: prompt.group for prompt in bench.prompts("test")}
    prompt_of = {block.id: block.prompt_id for block in bench.store.all_blocks().values()}
    found = {}
    for group in sorted(set(groups.values()) - {""}):
        mine = {block: value for block, value in ahead.items() if groups[prompt_of[block]] == group}
        found[group] = dict(_estimate(bench, mine, prompt_of).to_json())
    return found


def _estimate(bench: Workbench, values: Mapping[str, float], prompt_of: Mapping[str, str]) -> Estimate:
    return estimate(values, prompt_of, bench.plan.holdout_seed) or Estimate(0.0, (0.0, 0.0), 0)


def _failed(bench: Workbench, scores: Mapping[str, float]) -> int:
    return bench.plan.test_prompts * bench.plan.test_seeds - len(scores)


def add_truth(bench: Workbench, best: str) -> None:
    """Ask the miniworld's truth about the test pictures of naive and best, and store the answers as facts."""
    from miniworld.truth import truth_scores

    store = bench.store
    known = store.raw_scores(TRUTH, "test")
    blocks = store.all_blocks()
    texts = {prompt.id: prompt.text for prompt in store.prompts("test")}
    renders = store.rows("SELECT arm, block_id, key FROM render WHERE error = '' ORDER BY arm, block_id")
    for arm in dict.fromkeys((NAIVE, best)):
        todo = [
            row
            for row in renders
            if row["arm"] == arm
            and blocks[row["block_id"]].split == "test"
            and row["block_id"] not in known.get(arm, {})
        ]
        lost = restore_pictures(bench, [row["key"] for row in todo])
        todo = [row for row in todo if row["key"] not in lost]
        if not todo:
            continue
        images = []
        for row in todo:
            with Image.open(bench.images.path(row["key"])) as image:
                images.append(image.convert("RGB"))
        values = truth_scores(images, [texts[blocks[row["block_id"]].prompt_id] for row in todo])
        facts = (
            {"arm": arm, "block_id": row["block_id"], "scorer": TRUTH, "revision": "", "value": float(value)}
            for row, value in zip(todo, values, strict=True)
        )
        store.upsert("score", facts)


def instruction_set(bench: Workbench, best: str) -> dict[str, Any]:
    """Return the tuned instruction set: every arm with its lineage and evidence. Free of times, so reproducible."""
    bandit, retired = bench.bandit(), bench.store.retired()
    statistics = bandit.statistics()
    arms = [
        {
            "id": i.id,
            "parent": i.parent,
            "round": i.round,
            "origin": i.origin,
            "text": i.text,
            "retired": i.id in retired,
            "finalist": i.id in finalists(bench),
            "pulls": bandit.pulls(i.id),
            "blocks": statistics[i.id].n,
            "mean": statistics[i.id].mean if statistics[i.id].n else None,
        }
        for i in bench.instructions().values()
        if i.origin != "frequent"
    ]
    return {
        "format": "brushup-instructions/1",
        "seed": bench.plan.seed,
        "reward": bench.plan.reward,
        "scorer": bench.scorer.name,
        "best": best,
        "instructions": arms,
    }


def loop_history(bench: Workbench) -> LoopHistory:
    """Return what the health rules look at."""
    table = bench.bandit().table(bench.pool_arms())
    pulls = bench.store.rows("SELECT round, arm, batch FROM pull WHERE status = 'told' ORDER BY round, k")
    return history_of(table, pulls, bench.instructions().values())

"""What a comparison measures of a finished run: its recommendation over time, scored on held-out prompts, uncharged."""

import asyncio
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from langgraph.runtime import Runtime

from bandit.session import Bandit
from core.progress import Silent
from core.records import NAIVE
from experiments.config import BudgetSection, RunConfig
from experiments.folder import RunFolder, read_json, write_json
from experiments.paired import by_prompt, lead
from experiments.wiring import Models, open_bench
from graph.blocks import evaluation_blocks
from graph.decide import winner
from graph.state import LoopState, Work
from graph.work import missing_refinements, refine, render, score
from graph.workbench import Workbench
from prompt_db.run_store import RunStore

TRACE_FILE = "trace.json"


def trace(folder: RunFolder, config: RunConfig, models: Models) -> dict[str, Any]:
    """Return what `trace.json` in a finished run's folder holds, measuring it when it is not there yet.

    After every pull the loop would have recommended its leader by lower bound; at the end it recommends the finalist
    that validation chose. Each of them is drawn on the test's blocks, which nothing in the loop has met. What a leader
    costs here is charged to a ledger that is thrown away: no policy would have to pay for being watched.

    Returns:
        `recommended` (arm), `text`, `gains` (mean paired test score by prompt of the recommendation), `truth` (mean
        gain by the miniworld's truth, or None), `groups` (prompt -> its group), `loop_renders`, and `curve`: [renders,
        arm, mean gain] at each change of the recommendation. An arm that gave no test result has gain None.
    """
    path = folder.path / TRACE_FILE
    if path.is_file():
        return read_json(path)
    free = config.model_copy(update={"budget": BudgetSection()})  # type: ignore[call-arg]
    store = RunStore.writer(folder.database)
    try:
        with tempfile.TemporaryDirectory(prefix="brushup-trace-") as scratch:
            aside = RunStore.writer(Path(scratch) / "aside.db")
            try:
                session = aside.append("session", {"pid": os.getpid(), "started": 0.0})
                with open_bench(folder, free, models, Silent(), session=session, store=store, charged=aside) as bench:
                    found = _measure(bench, read_json(folder.summary_file))
            finally:
                aside.close()
    finally:
        store.close()
    write_json(path, found)
    return found


def _measure(bench: Workbench, summary: dict[str, Any]) -> dict[str, Any]:
    changes = recommendations(bench)
    best = winner(bench)[0]
    loop_renders = changes[-1][0]
    changes = [*changes[:-1], (loop_renders, best)]
    asyncio.run(draw_test(bench, dict.fromkeys(arm for _, arm in changes)))
    scores, blocks = bench.store.raw_scores(bench.scorer.name, "test"), bench.store.all_blocks()
    prompt_of = {block.id: block.prompt_id for block in blocks.values()}
    gains = {
        arm: {
            prompt: fmean(values)
            for prompt, values in by_prompt(lead(scores.get(arm, {}), scores[NAIVE]), prompt_of).items()
        }
        for _, arm in changes
    }
    truth = (summary.get("ground_truth") or {}).get("best_minus_naive")
    return {
        "recommended": best,
        "text": bench.instructions()[best].text,
        "gains": gains[best],
        "truth": truth["mean"] if truth else None,
        "groups": {prompt.id: prompt.group for prompt in bench.prompts("test")},
        "loop_renders": loop_renders,
        "curve": [[renders, arm, fmean(gains[arm].values()) if gains[arm] else None] for renders, arm in changes],
    }


def recommendations(bench: Workbench) -> list[tuple[int, str]]:
    """Return (pictures drawn in the loop so far, leader) at each change of the leader, and at the loop's end."""
    rows = bench.store.rows("SELECT id, round, arm, batch FROM pull ORDER BY round, k")
    whole = bench.bandit()
    drawn = {(row["arm"], row["block_id"]) for row in bench.store.rows("SELECT arm, block_id FROM render")}
    charged: set[tuple[str, str]] = set()
    changes: list[tuple[int, str]] = []
    leader = None
    for place, row in enumerate(rows, start=1):
        batch = f"train/{row['batch']}."
        charged |= {pair for pair in drawn if pair[0] in (row["arm"], NAIVE) and pair[1].startswith(batch)}
        leader = _bandit_at(bench, whole, [pull["id"] for pull in rows[:place]], row["round"]).leader()
        if leader is not None and (not changes or leader != changes[-1][1]):
            changes.append((len(charged), leader))
    return [*changes, (len(charged), leader or "")]


def _bandit_at(bench: Workbench, whole: Bandit, pulls: Sequence[str], round_: int) -> Bandit:
    """Return the bandit as it was after these pulls, the last of them in round `round_`."""
    rows = bench.store.rows("SELECT id, round, origin, retired_round FROM instruction ORDER BY round, child, id")
    pool = [row["id"] for row in rows if row["origin"] != "frequent" and row["round"] < round_]
    gone = [row["id"] for row in rows if row["retired_round"] is not None and row["retired_round"] < round_]
    facts = [whole.facts[pull] for pull in pulls]
    return Bandit.replay(bench.policy, bench.plan.reward, pool, facts, whole.naive, gone)


async def draw_test(bench: Workbench, arms: Iterable[str]) -> None:
    """Refine, draw and score the test's blocks by these arms, what is done left out."""
    blocks = evaluation_blocks(bench.prompts("test"), bench.plan.test_seeds, seed=bench.plan.holdout_seed)
    runtime: Runtime[Workbench] = Runtime(context=bench)
    for arm in arms:
        work: Work = {"id": f"trace/{arm}", "arms": [arm], "blocks": [block.id for block in blocks]}
        state: LoopState = {"stage": "validate", "work": work}
        await asyncio.gather(*(refine(task, runtime) for task in missing_refinements(bench, work)))
        await render(state, runtime)
        await score(state, runtime)

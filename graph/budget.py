"""What validation and test will need, set aside from the start, and what a pull needs beside it."""

from collections.abc import Sequence

from core.pricing import CallCost
from core.records import NAIVE, Block, Instruction
from graph.blocks import train_batch
from graph.state import Work
from graph.workbench import FREQUENT, INITIAL, LoopPlan, Workbench
from prompt_db.caps import CAP_KINDS, Amounts, total
from prompt_db.ledger import KINDS, busy_seconds, loop_seconds

SPLIT = {"validate": "validation", "test": "test"}
EXPANSION_CALLS = 2
SLACK = 1.1
"""The time set aside for the evaluation is this much longer than expected."""


def reserved_evaluation(plan_: LoopPlan, *, frequent: bool) -> dict[str, int]:
    """Return the renders and LLM calls that validation and test will need at most."""
    arms = 3 if frequent else 2
    validation = plan_.validation_prompts
    return {
        "render": (plan_.top + 1) * validation + (arms + 1) * plan_.test_prompts * plan_.test_seeds,
        "llm": plan_.top * validation + arms * plan_.test_prompts,
    }


def arms_cost(bench: Workbench, arms: Sequence[Instruction | None], split: str) -> CallCost:
    """Return what it costs at most to refine a split's prompts once by each arm (None = arm 0, which costs nothing)."""
    cost = CallCost()
    if bench.ledger.caps.money:
        naive = [prompt.text for prompt in bench.prompts(split)]
        for instruction in filter(None, arms):
            for text in naive:
                cost += bench.refine_cost(instruction, text)
    return cost


def split_needs(bench: Workbench, arms: Sequence[Instruction | None], split: str) -> Amounts:
    """Return what it takes at most to refine, draw and score a held-out split by these arms."""
    prompts = bench.plan.test_prompts if split == "test" else bench.plan.validation_prompts
    seeds = bench.plan.test_seeds if split == "test" else 1
    renders, calls = len(arms) * prompts * seeds, sum(arm is not None for arm in arms) * prompts
    watched = renders * len(bench.watched) if split == "test" else 0
    seconds = expected_seconds(bench, {"render": renders, "score": renders + watched, "llm": calls})
    return {"render": renders, "llm": calls, **_money(arms_cost(bench, arms, split)), "seconds": seconds}


def _money(cost: CallCost) -> dict[str, float]:
    return {"tokens": cost.tokens, "usd": cost.usd or 0.0}


def expected_seconds(bench: Workbench, amounts: Amounts) -> float:
    """Return about how long so much work takes, from what this run's work took so far; 0 without a cap on seconds.

    Each kind counts at its mean so far (what came from the cache left out), and all of it is stretched by what the loop
    took beside its work: deciding, storing, waiting for a busy machine.
    """
    if bench.ledger.caps.max_seconds is None:
        return 0.0
    seconds = working = 0.0
    for kind in KINDS:
        sql = "SELECT count(*) AS n FROM charge WHERE kind = ? AND status = 'done' AND cached = 0"
        done, busy = bench.store.rows(sql, [kind])[0]["n"], busy_seconds(bench.store, kind)
        working += busy
        seconds += amounts.get(kind, 0) * busy / done if done else 0.0
    stretch = max(1.0, loop_seconds(bench.store)[1] / working) if working else 1.0
    return SLACK * stretch * seconds


def evaluation_needs(bench: Workbench, candidate: Instruction | None = None) -> Amounts:
    """Return what validation and test need at most, whoever wins: all finalists as costly as the costliest arm.

    Args:
        bench: the run.
        candidate: an instruction that is thought of joining the pool.
    """
    known = bench.instructions()
    pool = [known[arm] for arm in bench.pool_arms()] + ([candidate] if candidate else [])
    costliest = max(pool, key=lambda arm: len(arm.text.encode()))
    rivals = [known[arm] for arm in (INITIAL, FREQUENT) if arm in known]
    return total(
        split_needs(bench, [None, *[costliest] * bench.plan.top], "validation"),
        split_needs(bench, [None, *rivals, costliest], "test"),
    )


def affordable(bench: Workbench, candidate: Instruction) -> bool:
    """Say whether the evaluation still fits under the caps on tokens and USD if this instruction should win."""
    if not bench.ledger.caps.money:
        return True
    needs = evaluation_needs(bench, candidate)
    return all(bench.ledger.room(kind) >= needs[kind] for kind in ("tokens", "usd"))


def pull_needs(bench: Workbench, arm: str, blocks: Sequence[Block]) -> Amounts:
    """Return what a pull takes at most; an LLM's second try of an unusable reply is not set aside."""
    done = {(row["arm"], row["block_id"]) for row in bench.store.rows("SELECT arm, block_id FROM render")}
    renders = sum((one, block.id) not in done for one, block in bench.pairs([arm, NAIVE], blocks))
    cost = CallCost()
    if bench.ledger.caps.money:
        instruction, texts = bench.instructions()[arm], {prompt.id: prompt.text for prompt in bench.prompts("train")}
        for block in blocks:
            cost += bench.refine_cost(instruction, texts[block.prompt_id])
    seconds = expected_seconds(bench, {"render": renders, "score": renders, "llm": len(blocks)})
    return {"render": renders, "llm": len(blocks), **_money(cost), "seconds": seconds}


def lacking(bench: Workbench, needs: Amounts) -> str:
    """Return the flag of the first cap under which so much does not fit beside what is set aside, or ""."""
    for cap in CAP_KINDS:
        free = bench.ledger.free(cap.kind)
        need = needs.get(cap.kind, 0)
        if free < need or (cap.kind == "seconds" and free <= 0):
            return cap.flag
    return ""


def hold_for_evaluation(bench: Workbench) -> None:
    """Set the whole evaluation aside: nothing that the loop does can reach it."""
    bench.ledger.promise({"evaluation": evaluation_needs(bench)})


def hold_for_later(bench: Workbench, work: Work, later: Amounts) -> None:
    """Set aside what later steps of the evaluation need, and for each first LLM call of this step its own share.

    So no second try of an unusable reply, and no repeated request, can take the place of another prompt's first try.
    """
    known, own = bench.instructions(), {}
    texts = {prompt.id: prompt.text for prompt in bench.store.prompts()}
    for arm in work["arms"]:
        for block in bench.store.blocks(work["blocks"]) if arm in known else ():
            cost = bench.refine_cost(known[arm], texts[block.prompt_id]) if bench.ledger.caps.money else CallCost()
            own[f"llm:{refine_scope(arm, block)}:1"] = {"llm": 1, **_money(cost)}
    done = {row["id"] for row in bench.store.rows("SELECT id FROM charge WHERE status != 'unknown'")}
    shares = {charge: amounts for charge, amounts in own.items() if charge not in done}
    bench.ledger.promise({**shares, "later": {**later, "seconds": 0.0}})


def refine_scope(arm: str, block: Block) -> str:
    """Return the name of the work of refining one block's prompt by one arm, to which its LLM calls are charged."""
    return f"refine/{arm}/{block.prompt_id}/{block.replicate}"


def least_needs(bench: Workbench) -> tuple[Amounts, Amounts]:
    """Return what the evaluation needs, and what the costliest first pull needs, before anything is spent."""
    plan_ = bench.plan
    blocks = train_batch(bench.prompts("train"), 0, size=plan_.batch_size, seed=plan_.seed)
    known = bench.instructions()
    costliest = max(bench.pool_arms(), key=lambda arm: len(known[arm].text.encode()))
    return evaluation_needs(bench), pull_needs(bench, costliest, blocks)

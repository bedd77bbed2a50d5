"""The node that decides what happens next: a pull, an expansion, validation, the test, or the end.

It reads the facts and derives everything else, so deciding twice (after a kill) decides the same.
"""

from langgraph.runtime import Runtime

from bandit.bootstrap import bootstrap_mean
from core.errors import BrushupError, BudgetReached
from core.records import NAIVE, Estimate, Pull
from core.seeding import generator
from graph.blocks import evaluation_blocks, train_batch
from graph.budget import (
    EXPANSION_CALLS,
    SPLIT,
    hold_for_evaluation,
    hold_for_later,
    lacking,
    pull_needs,
    split_needs,
)
from graph.lineage import unready_parent
from graph.state import LoopState, Work
from graph.work import check_stop
from graph.workbench import FREQUENT, INITIAL, Workbench
from prompt_db.caps import total


async def plan(state: LoopState, runtime: Runtime[Workbench]) -> LoopState:
    """Choose the next unit of work; the policy chooses the arm of a pull."""
    bench = runtime.context
    check_stop(bench)
    stage, step = state["stage"], state["step"]
    if stage == "loop":
        update = _plan_loop(bench, state)
        if update is not None:
            return update
        stage, step = "validate", 0
    if stage == "validate":
        arms = validation_arms(bench)
        if step < len(arms):
            return _evaluation(bench, "validate", step, arms)
        stage, step = "test", 0
    arms = test_arms(bench)
    if step < len(arms):
        return _evaluation(bench, "test", step, arms)
    bench.event("done", state["round"])
    return {"stage": "done", "step": 0, "work": None, "expand": False}


def _plan_loop(bench: Workbench, state: LoopState) -> LoopState | None:
    """Return the loop's next move, or None when the loop is over (the reason is stored)."""
    plan_, round_, step = bench.plan, state["round"], state["step"]
    hold_for_evaluation(bench)
    if step == 0 and (reason := _converged(bench)):
        return _stop(bench, round_, reason)
    if step >= plan_.pulls_per_round:
        if not bench.bandit().expandable():
            reasons = {row["error"] for row in bench.store.rows("SELECT error FROM refinement WHERE error != ''")}
            raise BrushupError(
                f"no pull of round {round_} gave a usable result ({'; '.join(sorted(reasons)[:2])}); "
                "check the LLM, or loosen --keep"
            )
        if round_ >= plan_.rounds:
            return _stop(bench, round_, "rounds")
        if lacking(bench, {"llm": EXPANSION_CALLS}):
            return _stop(bench, round_, "budget")
        unready = unready_parent(bench, bench.bandit(before=f"r{round_}p{step}"), round_)
        if not unready:
            return {"stage": "loop", "round": round_, "step": step, "work": None, "expand": True}
        return _plan_pull(bench, round_, step, unready)
    return _plan_pull(bench, round_, step)


def _plan_pull(bench: Workbench, round_: int, step: int, arm: str = "") -> LoopState | None:
    """Return a pull of `arm`, by default of the policy's choice, or None when it does not fit into the budget."""
    plan_, pull_id = bench.plan, f"r{round_}p{step}"
    bandit = bench.bandit(before=pull_id)
    if arm:
        pull = Pull(pull_id, arm, bandit.pulls(arm))
    else:
        pull = bandit.ask(pull_id, generator(plan_.seed, "policy", pull_id))
    blocks = train_batch(bench.prompts("train"), pull.batch, size=plan_.batch_size, seed=plan_.seed)
    work: Work = {"id": pull_id, "arms": [pull.arm, NAIVE], "blocks": [block.id for block in blocks]}
    if flag := lacking(bench, pull_needs(bench, pull.arm, blocks)):
        _refuse_without_evidence(bench, flag)
        return _stop(bench, round_, "budget")
    with bench.store.atomic():
        bench.store.add_blocks(blocks)
        row = {"id": pull_id, "round": round_, "k": step, "arm": pull.arm, "batch": pull.batch, "status": "asked"}
        bench.store.upsert("pull", [row])
    bench.event("pull", round_, pull_id, f"{pull.arm} on batch {pull.batch}")
    return {"stage": "loop", "round": round_, "step": step, "work": work, "expand": False}


def _refuse_without_evidence(bench: Workbench, flag: str) -> None:
    """End the run when its budget is reached before the first result: there is nothing to validate.

    Raises:
        BudgetReached: no pull has given a result yet.
    """
    if not bench.store.rows("SELECT 1 FROM pull WHERE status = 'told' LIMIT 1"):
        raise BudgetReached(
            f"{flag} is reached before the first pull has given a result, with what validation and test need set "
            f"aside; raise {flag}"
        )


def _stop(bench: Workbench, round_: int, reason: str) -> LoopState | None:
    """Store why the loop ends; there is no next move."""
    bench.store.set_fact("stop_reason", reason)
    bench.store.set_fact("rounds_done", str(round_))
    bench.event("stop", round_, detail=reason)
    return None


def _converged(bench: Workbench) -> str:
    """Say why no further round can help: bounds separated, and two expansions brought no new leader."""
    births = [i for i in bench.instructions().values() if i.origin == "modifier"]
    expansions = sorted({i.round for i in births})[-2:]
    bandit = bench.bandit()
    leader = bandit.leader()
    recent = {i.id for i in births if i.round in expansions}
    tried = all(bandit.pulls(arm) for arm in recent)
    if len(expansions) == 2 and tried and leader not in recent and len(bandit.pool) > 1 and bandit.separated():
        return "converged"
    return ""


def _evaluation(bench: Workbench, stage: str, step: int, arms: list[str]) -> LoopState:
    plan_, arm = bench.plan, arms[step]
    split = SPLIT[stage]
    if split == "validation":
        blocks = evaluation_blocks(bench.prompts(split), 1, seed=plan_.seed)
    else:
        blocks = evaluation_blocks(bench.prompts(split), plan_.test_seeds, seed=plan_.holdout_seed)
    bench.store.add_blocks(blocks)
    bench.event(stage, 0, f"{stage}/{arm}")
    work: Work = {"id": f"{stage}/{arm}", "arms": [arm], "blocks": [block.id for block in blocks]}
    _hold(bench, stage, step, work)
    return {"stage": stage, "step": step, "work": work, "expand": False}  # type: ignore[typeddict-item]


def _hold(bench: Workbench, stage: str, step: int, work: Work) -> None:
    """Set aside what the evaluation needs after this step; in validation the costliest finalist may win."""
    known = bench.instructions()
    later = []
    if stage == "validate":
        arms = validation_arms(bench)
        later.append(split_needs(bench, [known.get(arm) for arm in arms[step + 1 :]], "validation"))
        best = max((known[arm] for arm in arms[1:]), key=lambda arm: len(arm.text.encode()), default=None)
        rivals = [known[arm] for arm in (INITIAL, FREQUENT) if arm in known]
        later.append(split_needs(bench, [None, *rivals, best], "test"))
    else:
        later.append(split_needs(bench, [known.get(arm) for arm in test_arms(bench)[step + 1 :]], "test"))
    hold_for_later(bench, work, total(*later))


def hold_again(bench: Workbench, state: LoopState) -> None:
    """Set aside in a new process what the killed one had set aside, before the step in hand goes on."""
    stage, work = state["stage"], state.get("work")
    if stage == "loop":
        hold_for_evaluation(bench)
    elif stage in SPLIT and work is not None:
        _hold(bench, stage, state["step"], work)


def validation_arms(bench: Workbench) -> list[str]:
    """Return the arms that meet the validation split: naive and the finalists."""
    return [NAIVE, *finalists(bench)]


def finalists(bench: Workbench) -> list[str]:
    """Return the arms to re-score on fresh validation blocks: the top ones by lower bound."""
    return bench.bandit().top(bench.plan.top)


def winner(bench: Workbench) -> tuple[str, Estimate]:
    """Return the finalist with the best mean paired reward on the validation blocks, and that estimate."""
    scores = bench.store.raw_scores(bench.scorer.name, "validation")
    naive = scores.get(NAIVE, {})
    prompt_of = {block.id: block.prompt_id for block in bench.store.all_blocks().values()}
    estimates = {}
    for arm in finalists(bench):
        paired = {prompt_of[b]: [v - naive[b]] for b, v in scores.get(arm, {}).items() if b in naive}
        if paired:
            estimates[arm] = bootstrap_mean(paired, seed=bench.plan.seed)
    if not estimates:
        raise BrushupError("no finalist could be scored on the validation prompts; see `brushup show` for the failures")
    best = max(estimates, key=lambda arm: (estimates[arm].mean, arm))
    return best, estimates[best]


def test_arms(bench: Workbench) -> list[str]:
    """Return the arms that meet the test split: naive, initial, frequent (if there is a corpus) and the winner."""
    known = bench.instructions()
    return list(dict.fromkeys([NAIVE, INITIAL, *([FREQUENT] if FREQUENT in known else []), winner(bench)[0]]))

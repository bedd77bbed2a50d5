"""The nodes that learn: settle a unit of work, say in words why good beat bad, write better instructions."""

from dataclasses import replace

from langgraph.runtime import Runtime

from core.errors import AgentFailure, BudgetReached
from core.records import NAIVE, Instruction, ScoredPrompt, TextualGradient
from core.scope import call_scope
from core.seeding import derive_seed, generator
from graph.budget import affordable
from graph.lineage import choose_parent, evidence, expansion_name, relatives
from graph.state import LoopState
from graph.work import check_stop, current_work
from graph.workbench import Workbench

EVIDENCE = 1500
"""Most results handed to the Gradient Calculator, the newest pulls first; it shows its LLM a selection of them."""


async def settle(state: LoopState, runtime: Runtime[Workbench]) -> LoopState:
    """Close a unit of work; a pull without any result is recorded as failed, with the reason."""
    bench, work = runtime.context, current_work(state)
    if state["stage"] == "loop":
        arm, blocks = work["arms"][0], set(work["blocks"])
        scores = bench.store.raw_scores(bench.scorer.name, "train")
        results = blocks & set(scores.get(arm, {})) & set(scores.get(NAIVE, {}))
        reason = "" if results else _why_nothing(bench, arm)
        row = {"id": work["id"], "status": "told" if results else "failed", "reason": reason}
        bench.store.upsert("pull", [row])
        bench.event("settle", state["round"], work["id"], reason or f"{len(results)} of {len(blocks)} blocks")
    else:
        bench.event("settle", state["round"], work["id"])
    bench.progress.advance(int(bench.ledger.spent("render")), 0, work["id"])
    return {"step": state["step"] + 1, "work": None}


def _why_nothing(bench: Workbench, arm: str) -> str:
    found = bench.store.rows("SELECT error FROM refinement WHERE arm = ? AND error != '' ORDER BY error LIMIT 1", [arm])
    return str(found[0]["error"]) if found else "no block has both a refined and a naive score"


async def critique(state: LoopState, runtime: Runtime[Workbench]) -> LoopState:
    """Let the policy choose the instruction to modify and the Gradient Calculator contrast its results."""
    bench, round_ = runtime.context, state["round"]
    check_stop(bench)
    parent = choose_parent(bench, bench.bandit(), round_)
    text = problem = ""
    if bench.plan.gradient != "none":
        try:
            text = await _gradient(bench, parent, round_)
        except (AgentFailure, BudgetReached) as error:
            problem = str(error)
    bench.store.upsert("gradient", [{"round": round_, "arm": parent, "text": text, "error": problem}])
    bench.event("critique", round_, parent, problem)
    return {"parent": parent}


async def _gradient(bench: Workbench, parent: str, round_: int) -> str:
    name, scored = expansion_name(bench, parent, round_), scored_prompts(bench, parent, round_)
    exemplars = bench.exemplars([s.naive for s in scored if s.arm == parent], bench.plan.exemplars)
    if bench.plan.gradient == "shuffled":
        order = generator("shuffle", bench.plan.seed, name).permutation(len(scored))
        scored = [replace(one, reward=scored[place].reward) for one, place in zip(scored, order, strict=True)]
    with call_scope(f"critique/{round_}"):
        gradient = await bench.gradient.critique(
            bench.instructions()[parent].text,
            scored,
            exemplars,
            seed=derive_seed("critique", bench.plan.seed, name),
            arm=parent,
        )
    return gradient.text


def scored_prompts(bench: Workbench, parent: str, round_: int) -> list[ScoredPrompt]:
    """Return the results with their paired rewards that an expansion may see: one per (arm, block) with both scores."""
    scores = bench.store.raw_scores(bench.scorer.name, "train")
    naive_scores = scores.get(NAIVE, {})
    blocks, refinements = bench.store.all_blocks(), bench.store.refinements()
    texts = {prompt.id: prompt.text for prompt in bench.prompts("train")}
    scored = []
    for arm, batch in evidence(bench.store, bench.plan.evidence, parent, round_):
        for block_id, value in scores.get(arm, {}).items():
            block = blocks[block_id]
            if block.batch == batch and block_id in naive_scores:
                refined = refinements[arm, block.prompt_id, block.replicate]
                reward = value - naive_scores[block_id]
                scored.append(
                    ScoredPrompt(texts[block.prompt_id], refined["text"], reward, arm, block_id, refined["negative"])
                )
    return scored[:EVIDENCE]


async def modify(state: LoopState, runtime: Runtime[Workbench]) -> LoopState:
    """Let the Instruction Modifier write children of the parent; they join the pool, over its cap others retire."""
    bench, round_, parent = runtime.context, state["round"], state["parent"]
    check_stop(bench)
    known = bench.instructions()
    [gradient] = bench.store.rows("SELECT text, error FROM gradient WHERE round = ?", [round_])
    texts: list[str] = []
    if not gradient["error"]:
        naive = [s.naive for s in scored_prompts(bench, parent, round_) if s.arm == parent]
        texts = await _propose(bench, round_, known[parent], gradient["text"], naive)
    taken = {known[arm].text for arm in relatives(bench, parent, round_)}
    born = [
        Instruction(f"r{round_}c{k}", text, parent, round_, k)
        for k, text in enumerate(text for text in texts if text not in taken)
    ]
    born = _within_budget(bench, round_, born)
    with bench.store.atomic():
        bench.store.add_instructions(born)
        bench.store.retire(bench.bandit().retire(bench.plan.pool_cap), round_)
    bench.event("modify", round_, parent, f"{len(born)} children")
    bench.progress.note(f"round {round_}: {len(born)} new instructions from {parent}")
    return {"round": round_ + 1, "step": 0, "expand": False, "parent": ""}


def _within_budget(bench: Workbench, round_: int, born: list[Instruction]) -> list[Instruction]:
    """Leave out children so long that the evaluation would no longer fit under the caps if one of them won."""
    kept = [child for child in born if affordable(bench, child)]
    if len(kept) < len(born):
        detail = f"{len(born) - len(kept)} children are too long for the budget on tokens or USD"
        bench.event("budget", round_, detail=detail)
    return kept


async def _propose(
    bench: Workbench, round_: int, parent: Instruction, gradient: str, naive_prompts: list[str]
) -> list[str]:
    exemplars = bench.exemplars(naive_prompts, bench.plan.exemplars)
    seed = derive_seed("modify", bench.plan.seed, expansion_name(bench, parent.id, round_))
    with call_scope(f"modify/{round_}"):
        try:
            return await bench.modifier.propose(
                parent.text, TextualGradient(gradient), exemplars, bench.plan.children, seed=seed
            )
        except (AgentFailure, BudgetReached) as error:
            bench.event("modify-failed", round_, parent.id, str(error))
            return []

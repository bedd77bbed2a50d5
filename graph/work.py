"""The nodes that spend: refine (fans out), render and score (one each a step, in fixed-size chunks).

Each may run twice after a kill: what is done is found in the run's facts or in the content-addressed caches and is
not done again. Order of writes: reservation, effect, call log, bytes, fact.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from langgraph.runtime import Runtime

from core.calllog import log_calls
from core.errors import BrushupError, BudgetReached, Interrupted
from core.interfaces import Renderer, Scorer
from core.records import NAIVE, Refinement, RenderRequest, RenderResult, Score, ScoreItem
from core.scope import call_scope, current_scope
from core.seeding import derive_seed
from core.text import digest
from graph.budget import refine_scope
from graph.lineage import seed_name
from graph.pictures import LOST, Drawn, note_smaller_chunk, restore_pictures, store_pictures
from graph.state import LoopState, RefineTask, Work
from graph.workbench import Workbench
from rendering.cache import ImageCache, render_key
from rendering.negative import with_fixed

Item = TypeVar("Item")
_READERS = 4
"""Threads that decode a chunk's pictures for the scorer."""


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Split into runs of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def check_stop(bench: Workbench) -> None:
    """End the step in hand cleanly when the user asked for it; everything finished is stored.

    Raises:
        Interrupted: the user pressed Ctrl-C.
    """
    if bench.stop.is_set():
        raise Interrupted("interrupted; nothing is lost")


def current_work(state: LoopState) -> Work:
    """Return the state's unit of work."""
    work = state.get("work")
    if work is None:
        raise LookupError("the graph reached a work node without work")
    return work


def missing_refinements(bench: Workbench, work: Work) -> list[RefineTask]:
    """Return one task per refinement that the work needs and that is not stored yet."""
    done = bench.store.refinements()
    tasks: dict[tuple[str, str, int], RefineTask] = {}
    for arm, block in bench.pairs(work["arms"], bench.store.blocks(work["blocks"])):
        key = (arm, block.prompt_id, block.replicate)
        if arm != NAIVE and key not in done:
            tasks.setdefault(key, {"work": work["id"], "arm": arm, "block": block.id})
    return list(tasks.values())


async def refine(task: RefineTask, runtime: Runtime[Workbench]) -> dict[str, Any]:
    """Let one arm's refiner rewrite one block's naive prompt; a failure is stored as data.

    Raises:
        BudgetReached: a held-out prompt's first call would overshoot a cap (only after a kill, or out of time): the run
            stops there, so that it can go on under a higher cap.
    """
    bench, arm = runtime.context, task["arm"]
    check_stop(bench)
    block = bench.store.blocks([task["block"]])[0]
    naive = next(p.text for p in bench.prompts(block.split) if p.id == block.prompt_id)
    refiner = bench.refiner_of(bench.instructions()[arm])
    seed = derive_seed(
        "refine", bench.plan.seed, seed_name(bench.store, bench.plan.evidence, arm), block.prompt_id, block.replicate
    )
    with call_scope(refine_scope(arm, block)):
        try:
            [refinement] = await refiner.refine([naive], seed=seed)
        except BudgetReached as error:
            if block.split != "train" and current_scope().calls <= 1:
                raise
            refinement = Refinement(naive, error=f"budget: {error}")
    bench.store.add_refinement(arm, block, refinement)
    return {}


async def render(state: LoopState, runtime: Runtime[Workbench]) -> dict[str, Any]:
    """Draw what the work's arms made of its blocks."""
    bench, work = runtime.context, current_work(state)
    with _out_of_budget(bench, state):
        await _render_work(bench, work)
    _refuse_total_failure(bench, work, "render", "the renderer drew no picture")
    return {}


@contextmanager
def _out_of_budget(bench: Workbench, state: LoopState) -> Iterator[None]:
    """Let a pull end with what it has when the budget is reached inside it; the loop stops at the next plan.

    Raises:
        BudgetReached: in validation or test, which need all of their pictures.
    """
    try:
        yield
    except BudgetReached as error:
        if state["stage"] != "loop":
            raise
        bench.event("budget", state["round"], current_work(state)["id"], str(error))


async def _render_work(bench: Workbench, work: Work) -> None:
    """Take from the cache what is there, draw each other picture once, and share it among those who want it."""
    wanted = _unrendered(bench, work)
    keys = {pair: render_key(bench.renderer, request) for pair, request in wanted.items()}
    hits = {pair: path for pair, key in keys.items() if (path := bench.images.get(key))}
    if hits:
        bench.ledger.reserve("render", [_charge("render", pair) for pair in hits])
        _store_renders(bench, {pair: (wanted[pair], keys[pair], "") for pair in hits}, cached=True)
    misses = [pair for pair in wanted if pair not in hits]
    first_of = {keys[pair]: pair for pair in reversed(misses)}
    twin_of = {pair: first_of[keys[pair]] for pair in misses if first_of[keys[pair]] != pair}
    await _render_all(bench, wanted, keys, [pair for pair in misses if pair not in twin_of])
    twins = {pair: (wanted[pair], keys[first], "") for pair, first in twin_of.items()}
    if twins:
        bench.ledger.reserve("render", [_charge("render", pair) for pair in twins])
        _store_renders(bench, twins, cached=True)


async def _render_all(
    bench: Workbench,
    wanted: dict[tuple[str, str], RenderRequest],
    keys: dict[tuple[str, str], str],
    pairs: Sequence[tuple[str, str]],
) -> None:
    """Draw in chunks; a chunk's files and facts are written while the next one is drawn.

    A chunk is logged only when the one before is stored, so a kill can never cost more than one. When memory ran out,
    the renderer goes on with a smaller chunk, and `keys` gets the keys that its pictures have from then on.
    """
    storing: asyncio.Task[None] | None = None
    if pairs and bench.free_llm is not None:
        await bench.free_llm()
    done = 0
    try:
        while done < len(pairs):
            check_stop(bench)
            size = bench.renderer.chunk
            chunk = pairs[done : done + size]
            bench.progress.advance(int(bench.ledger.spent("render")), 0, "drawing")
            bench.ledger.reserve("render", [_charge("render", pair) for pair in chunk])
            with bench.ledger.busy("render"):
                drawn = await asyncio.to_thread(bench.renderer.render, [wanted[pair] for pair in chunk])
            if storing is not None:
                await storing
            if bench.renderer.chunk != size:
                note_smaller_chunk(bench, size)
                keys.update({pair: render_key(bench.renderer, wanted[pair]) for pair in pairs[done:]})
            log_calls("render", [keys[pair] for pair in chunk])
            facts = dict(zip(chunk, drawn, strict=True))
            storing = asyncio.create_task(_store_chunk(bench, wanted, keys, facts))
            done += len(chunk)
    finally:
        if storing is not None:
            await storing


async def _store_chunk(
    bench: Workbench,
    wanted: dict[tuple[str, str], RenderRequest],
    keys: dict[tuple[str, str], str],
    drawn: dict[tuple[str, str], RenderResult],
) -> None:
    pictures = [
        Drawn(keys[pair], wanted[pair], result.image, *pair)
        for pair, result in drawn.items()
        if result.image is not None
    ]
    await asyncio.to_thread(store_pictures, bench, pictures)
    _store_renders(bench, {pair: (wanted[pair], keys[pair], r.error) for pair, r in drawn.items()}, cached=False)


def _unrendered(bench: Workbench, work: Work) -> dict[tuple[str, str], RenderRequest]:
    """Return the requests of the work that have no render fact, by (arm, block id), in a fixed order."""
    done = {(row["arm"], row["block_id"]) for row in bench.store.rows("SELECT arm, block_id FROM render")}
    refinements = bench.store.refinements()
    wanted: dict[tuple[str, str], RenderRequest] = {}
    texts = {prompt.id: prompt.text for prompt in bench.store.prompts()}
    for arm, block in bench.pairs(work["arms"], bench.store.blocks(work["blocks"])):
        if (arm, block.id) in done:
            continue
        row = {"text": texts[block.prompt_id], "negative": "", "error": ""}
        if arm != NAIVE:
            row = refinements.get((arm, block.prompt_id, block.replicate), {"error": "missing"})
        if not row["error"]:
            wanted[arm, block.id] = RenderRequest(row["text"], block.seed, row["negative"])
    return wanted


def _charge(kind: str, pair: tuple[str, str]) -> str:
    return f"{kind}:{pair[0]}:{pair[1]}"


def _unread(renderer: Renderer, request: RenderRequest) -> dict[str, object]:
    """Return what is not read of a request's prompts, as columns."""
    negative = with_fixed(request, renderer.settings).negative_prompt if renderer.reads_negative else ""
    ends = (renderer.unread(request.prompt), renderer.unread(negative))
    return {
        "unread": " / ".join(end.text for end in ends if end.text),
        "unread_tokens": sum(end.tokens for end in ends),
    }


def _store_renders(
    bench: Workbench, facts: dict[tuple[str, str], tuple[RenderRequest, str, str]], *, cached: bool
) -> None:
    rows = (
        {
            "arm": arm,
            "block_id": block,
            "key": key,
            "prompt": request.prompt,
            "negative": request.negative_prompt,
            **_unread(bench.renderer, request),
            "cached": int(cached),
            "error": error,
        }
        for (arm, block), (request, key, error) in facts.items()
    )
    with bench.store.atomic():
        bench.store.upsert("render", rows)
        bench.ledger.settle([_charge("render", pair) for pair in facts], cached=cached)


async def score(state: LoopState, runtime: Runtime[Workbench]) -> dict[str, Any]:
    """Score the work's pictures against the *naive* prompt, never the refined one; watched scorers see the test's."""
    bench, work = runtime.context, current_work(state)
    with _out_of_budget(bench, state):
        await _score_by(bench, work, bench.scorer)
    _refuse_total_failure(bench, work, "score", f"the scorer {bench.scorer.name} gave no finite score")
    if state["stage"] == "test":
        for scorer in bench.watched:
            await _score_by(bench, work, scorer)
    return {}


async def _score_by(bench: Workbench, work: Work, scorer: Scorer) -> None:
    """Let one scorer score what it has not scored yet, from the cache where it is known."""
    wanted = _unscored(bench, work, scorer)
    hits = bench.cache.scores([key for key, _, _ in wanted.values()]) if wanted else {}
    known = {pair: Score(hits[key]) for pair, (key, _, _) in wanted.items() if key in hits}
    if known:
        bench.ledger.reserve("score", [_score_charge(scorer, pair) for pair in known])
        _store_scores(bench, scorer, known, cached=True)
    todo = [pair for pair in wanted if pair not in known]
    for chunk in chunks(todo, scorer.chunk):
        check_stop(bench)
        bench.ledger.reserve("score", [_score_charge(scorer, pair) for pair in chunk])
        lost = await asyncio.to_thread(restore_pictures, bench, [wanted[pair][1].stem for pair in chunk])
        there = [pair for pair in chunk if wanted[pair][1].stem not in lost]
        results = {pair: Score(None, LOST) for pair in chunk if pair not in set(there)}
        items = [(wanted[pair][1], wanted[pair][2]) for pair in there]
        with bench.ledger.busy("score"):
            scores = await asyncio.to_thread(_score_files, bench.images, scorer, items) if items else []
        log_calls("score", [wanted[pair][0] for pair in there])
        results |= dict(zip(there, scores, strict=True))
        bench.cache.put_scores({wanted[pair][0]: s.value for pair, s in results.items() if s.value is not None})
        _store_scores(bench, scorer, results, cached=False)


def _score_charge(scorer: Scorer, pair: tuple[str, str]) -> str:
    return f"{_charge('score', pair)}:{scorer.name}"


def _score_files(cache: ImageCache, scorer: Scorer, items: Sequence[tuple[Path, str]]) -> list[Score]:
    with ThreadPoolExecutor(_READERS) as pool:
        images = pool.map(cache.load, [path for path, _ in items])
        return scorer.score([ScoreItem(image, naive) for image, (_, naive) in zip(images, items, strict=True)])


def _unscored(bench: Workbench, work: Work, scorer: Scorer) -> dict[tuple[str, str], tuple[str, Path, str]]:
    """Return (score key, picture, naive prompt) of what has no score fact, by (arm, block id)."""
    done = {
        (row["arm"], row["block_id"])
        for row in bench.store.rows("SELECT arm, block_id FROM score WHERE scorer = ?", [scorer.name])
    }
    keys = {
        (row["arm"], row["block_id"]): row["key"]
        for row in bench.store.rows("SELECT arm, block_id, key FROM render WHERE error = ''")
    }
    texts = {prompt.id: prompt.text for prompt in bench.store.prompts()}
    wanted = {}
    for arm, block in bench.pairs(work["arms"], bench.store.blocks(work["blocks"])):
        pair = (arm, block.id)
        if pair in keys and pair not in done:
            naive = texts[block.prompt_id]
            key = digest([scorer.name, scorer.revision, scorer.chunk, keys[pair], naive], 32)
            wanted[pair] = (key, bench.images.path(keys[pair]), naive)
    return wanted


def _store_scores(bench: Workbench, scorer: Scorer, scores: dict[tuple[str, str], Score], *, cached: bool) -> None:
    rows = (
        {
            "arm": arm,
            "block_id": block,
            "scorer": scorer.name,
            "revision": scorer.revision,
            "value": result.value,
            "cached": int(cached),
            "error": result.error,
        }
        for (arm, block), result in scores.items()
    )
    with bench.store.atomic():
        bench.store.upsert("score", rows)
        bench.ledger.settle([_score_charge(scorer, pair) for pair in scores], cached=cached)


def _refuse_total_failure(bench: Workbench, work: Work, table: str, what: str) -> None:
    """Stop when a whole unit of work failed in the renderer or the scorer: that is no bad luck, it is a bad model.

    Raises:
        BrushupError: every attempt of this unit failed.
    """
    rows = [
        row
        for row in bench.store.rows(f"SELECT arm, block_id, error FROM {table}")
        if row["arm"] in work["arms"] and row["block_id"] in set(work["blocks"])
    ]
    if rows and all(row["error"] for row in rows):
        raise BrushupError(
            f"{what} for any of {len(rows)} pictures of {work['id']} (first: {rows[0]['error']}); "
            "check the model given with --renderer or --scorer"
        )

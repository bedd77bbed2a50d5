"""What a run will cost, before it is started: expected and at worst. It loads the models and draws two probes."""

import math
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.settings import settings_for
from core.errors import BudgetReached
from core.pricing import Price
from core.progress import Silent
from core.records import RenderRequest, ScoreItem
from experiments.config import RunConfig
from experiments.data import run_prompts
from experiments.folder import RunFolder
from experiments.run import check_counts, refuse_small_caps
from experiments.wiring import Models, load_models, loop_plan, open_bench
from graph.budget import least_needs, reserved_evaluation
from graph.workbench import FREQUENT, INITIAL, Workbench
from prompt_db.caps import CAP_KINDS
from prompt_db.run_store import RunStore

BYTES_A_TOKEN = 4
"""Expected in English; at worst a token is one byte."""
REPLY_SHARE = 4
"""A reply is expected to use a quarter of its token limit; at worst all of it."""
ANSWER_SECONDS = 2.0
"""Expected of a real LLM's answer; the offline agents take less than OFFLINE_SECONDS."""
OFFLINE_SECONDS = 0.01
PROMPT_CHARS = 150
GRADIENT_CHARS = 12_000
ECHO_CHARS = 2_400
"""What a second try says beside the first: the unusable reply, cut, and the reason."""

Numbers = dict[str, float | None]


def dry_run(
    home: Path, config: RunConfig, *, api_base: str | None = None, models: Models | None = None
) -> dict[str, Any]:
    """Return what a run with this configuration will take, `expected` and at `worst`, beside its caps.

    It makes no LLM call and leaves nothing behind: the two probe pictures are thrown away, the library is read from
    `home` or, when there is none yet, built in a temporary folder.

    Args:
        home: folder of all runs.
        config: the configuration, checked.
        api_base: the LLM address that the user named in this command.
        models: loaded models (tests); by default those of the configuration.

    Raises:
        BadInput: input or models that a run could not use either.
    """
    started = time.perf_counter()
    prompts = run_prompts(config)
    models = models or load_models(config, api_base=api_base)
    own_library = config.prompts.corpus is not None or (home / "prompts.db").is_file()
    with tempfile.TemporaryDirectory(prefix="brushup-dry-run-") as scratch:
        folder = RunFolder(Path(scratch), "dry-run")
        store = RunStore.writer(folder.database)
        try:
            session = store.append("session", {"pid": os.getpid(), "started": time.time()})
            library = home if own_library else folder.home
            with open_bench(
                folder, config, models, Silent(), session=session, store=store, library_home=library
            ) as bench:
                refusal = _refusal(config, bench, loop_plan(config, prompts))
                rates = _probe(bench, time.perf_counter() - started)
                return _forecast(config, bench, rates, refusal)
        finally:
            store.close()


def _refusal(config: RunConfig, bench: Workbench, plan: Any) -> str:
    """Return why a run under these caps would be refused at its start, or ""."""
    try:
        check_counts(config, plan)
        evaluation, pull = least_needs(bench)
        refuse_small_caps(bench.ledger.caps, evaluation, pull, ("tokens", "usd"))
    except BudgetReached as error:
        return str(error)
    return ""


def _probe(bench: Workbench, loading: float) -> dict[str, float]:
    """Draw two pictures at the real settings, score them, and return the seconds of a picture and of a score.

    The first picture warms the pipeline up; the second is timed. A picture costs its share of a padded chunk.
    """
    naive = bench.prompts("train")[:2]
    drawn, seconds = [], 0.0
    for number, prompt in enumerate(naive):
        seconds, [result] = _timed(lambda p=prompt, n=number: bench.renderer.render([RenderRequest(p.text, n)]))  # type: ignore[misc]
        drawn.append(result)
    rates = {"loading": loading, "render": seconds / bench.renderer.chunk, "score": 0.0, "watched": 0.0}
    items = [ScoreItem(r.image, p.text) for r, p in zip(drawn, naive, strict=True) if r.image is not None]
    for scorer in (bench.scorer, *bench.watched) if items else ():
        spent, _ = _timed(lambda s=scorer: s.score(items))  # type: ignore[misc]
        rates["score" if scorer is bench.scorer else "watched"] += spent / scorer.chunk
    return rates


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def _forecast(config: RunConfig, bench: Workbench, rates: dict[str, float], refusal: str) -> dict[str, Any]:
    plan, instructions = bench.plan, bench.instructions()
    evaluation = reserved_evaluation(plan, frequent=FREQUENT in instructions)
    arms = 4 if FREQUENT in instructions else 3
    watched = len(bench.watched) * arms * plan.test_prompts * plan.test_seeds
    pulled = plan.rounds * plan.pulls_per_round * plan.batch_size
    expansions = plan.rounds - 1
    naive = min(pulled, 2 * plan.pulls_per_round * plan.batch_size)
    offline = config.agents.llm.startswith("offline/")
    forecast: dict[str, Numbers] = {}
    for name, renders, tries in (
        ("expected", pulled + naive + evaluation["render"], 1),
        ("worst", 2 * pulled + evaluation["render"], 2),
    ):
        refinements = pulled + evaluation["llm"]
        tokens, usd = _llm_cost(config, bench, refinements, expansions, worst=tries > 1)
        calls = tries * (refinements + 2 * expansions)
        answer = OFFLINE_SECONDS if offline else ANSWER_SECONDS / config.agents.concurrency
        drawing = renders * (rates["render"] + rates["score"])
        if bench.watched:
            drawing += watched / len(bench.watched) * rates["watched"]
        seconds = None if tries > 1 and not offline else round(rates["loading"] + drawing + calls * answer, 1)
        forecast[name] = {
            "renders": renders,
            "scores": renders + watched,
            "llm_calls": calls,
            "llm_tokens": tokens,
            "usd": usd,
            "seconds": seconds,
        }
    price = bench.ledger.price
    return {
        "dry_run": True,
        **forecast,
        "caps": {cap.key: bench.ledger.caps.of(cap.kind) for cap in CAP_KINDS},
        "refused": refusal,
        "price": None if price is None else {"in": price.sent, "out": price.received},
        "probes": {"renders": 2, "kept": False, **{f"{k}_seconds": round(v, 4) for k, v in rates.items()}},
    }


def _llm_cost(
    config: RunConfig, bench: Workbench, refinements: int, expansions: int, *, worst: bool
) -> tuple[int, float | None]:
    """Return tokens and USD of the run's LLM calls; at worst every reply is unusable once and is asked for again."""
    settings, price = settings_for(config.agents.llm), bench.ledger.price
    initial = bench.instructions()[INITIAL]
    texts = [prompt.text for split in ("train", "validation", "test") for prompt in bench.prompts(split)[:50]]
    room = settings.generator.max_tokens
    bounds = [bench.refine_cost(initial, text).tokens - room for text in texts]
    plan = bench.plan
    shown = min(settings.contrasts, plan.rounds * plan.pulls_per_round * plan.batch_size)
    line = settings.max_prompt_chars if worst else PROMPT_CHARS
    examples = settings.examples * PROMPT_CHARS
    instruction = settings.max_instruction_chars if worst else len(initial.text)
    sent = {
        "generator": max(bounds) + instruction if worst else math.fsum(bounds) / len(bounds),
        "gradient": 2000 + instruction + examples + shown * (line + 60),
        "modifier": 2000 + instruction + examples + (GRADIENT_CHARS if worst else GRADIENT_CHARS // 8),
    }
    limits = {role: getattr(settings, role).max_tokens for role in sent}
    times = {"generator": refinements, "gradient": expansions, "modifier": expansions}
    tokens, usd = 0, 0.0
    for role, bound in sent.items():
        tries = [(bound, limits[role])]
        if worst:  # a reply that was cut short gets twice the room
            tries.append((bound + ECHO_CHARS, 2 * limits[role]))
        for out, back in tries:
            prompt, reply = (math.ceil(out), back) if worst else (round(out / BYTES_A_TOKEN), back // REPLY_SHARE)
            tokens += times[role] * (prompt + reply)
            usd += _usd(price, times[role] * prompt, times[role] * reply)
    return tokens, None if price is None else round(usd, 6)


def _usd(price: Price | None, sent: int, received: int) -> float:
    return price.usd(sent, received) if price else 0.0

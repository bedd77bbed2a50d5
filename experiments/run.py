"""Start and resume a run: open the stores, drive the graph, write the results."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from core.errors import BrushupError, BudgetReached
from core.progress import Progress
from experiments.config import RunConfig
from experiments.data import run_prompts
from experiments.evaluation import write_results
from experiments.folder import RunFolder
from experiments.renderer_facts import stored_notes
from experiments.wiring import Models, load_models, loop_plan, on_miniworld, open_bench
from graph.budget import least_needs, reserved_evaluation
from graph.build import build_graph
from graph.decide import hold_again
from graph.state import START_STATE
from graph.workbench import Workbench
from prompt_db.caps import CAP_OF, Amounts, Caps, total
from prompt_db.run_store import RunStore

HEARTBEAT_SECONDS = 2.0
_STEPS = 10**7
"""LangGraph's recursion limit counts supersteps; the loop ends by its own rules."""


def run(
    folder: RunFolder,
    config: RunConfig,
    progress: Progress,
    *,
    started: float,
    api_base: str | None = None,
    models: Models | None = None,
) -> dict[str, Any]:
    """Bring a run to its end, from the start or from where it was killed, and return its summary.

    Args:
        folder: the run's folder, with its configuration in it.
        config: that configuration, with caps possibly raised.
        progress: told what happens.
        started: `time.time()` of the process's start, for the ledger's startup seconds.
        api_base: the LLM address that the user named in this command.
        models: loaded models (tests); by default those of the configuration.

    Raises:
        BadInput: input that cannot be used; a run that had not begun leaves nothing behind.
        BudgetReached: the caps leave no room for a result; nothing was spent.
        Interrupted: Ctrl-C; the run can be resumed.
        ProviderError: the LLM provider refused; the run can be resumed.
    """
    prompts = run_prompts(config)
    check_counts(config, loop_plan(config, prompts))
    store = RunStore.writer(folder.database)
    try:
        session = store.append("session", {"pid": os.getpid(), "started": started})
        models = models or load_models(config, api_base=api_base)
        with open_bench(folder, config, models, progress, session=session, store=store) as bench:
            progress.note(f"run {folder.name} in {folder.path}")
            for note in stored_notes(store):
                progress.note(note)
            if not bench.ledger.spent("render") and not bench.ledger.spent("llm"):
                evaluation, pull = least_needs(bench)
                refuse_small_caps(bench.ledger.caps, evaluation, pull, ("tokens", "usd"))
                refuse_late_start(bench)
            asyncio.run(_drive(bench, folder))
            return write_results(bench, folder, config, truth=on_miniworld(config))
    finally:
        store.close()


def check_counts(config: RunConfig, plan: Any) -> None:
    """Refuse a run whose caps on renders and LLM calls are below what its evaluation and one pull need.

    Raises:
        BudgetReached: nothing was spent.
    """
    pull = {"render": 2 * plan.batch_size, "llm": plan.batch_size}
    caps = Caps(**config.budget.model_dump())
    refuse_small_caps(caps, reserved_evaluation(plan, frequent=True), pull, ("render", "llm"))


def refuse_small_caps(caps: Caps, evaluation: Amounts, pull: Amounts, kinds: Sequence[str]) -> None:
    """Refuse caps of these kinds that leave no room for the evaluation and one pull.

    Raises:
        BudgetReached: nothing was spent.
    """
    needs = total(evaluation, pull)
    for cap in (CAP_OF[kind] for kind in kinds):
        limit = caps.of(cap.kind)
        if limit is not None and limit < needs[cap.kind]:
            shown = [
                f"{amount:.6g}" if cap.kind == "usd" else f"{amount:.0f}"
                for amount in (limit, needs[cap.kind], evaluation[cap.kind])
            ]
            raise BudgetReached(
                f"{cap.flag} is {shown[0]}; the evaluation and one pull need {shown[1]} ({shown[2]} reserved for "
                "validation and test): raise it, or lower evaluation.test_prompts or test_seeds; nothing was spent"
            )


def refuse_late_start(bench: Workbench) -> None:
    """Refuse a run whose seconds are used up before its loop begins.

    Raises:
        BudgetReached: nothing was spent.
    """
    if bench.ledger.room("seconds") <= 0:
        raise BudgetReached(
            f"--max-seconds is {bench.ledger.caps.max_seconds:g}; loading the models alone took "
            f"{bench.ledger.spent('seconds'):.1f} s: raise it; nothing was spent"
        )


async def _drive(bench: Workbench, folder: RunFolder) -> None:
    """Run the graph to its end or to the first error, with a heartbeat and a clean answer to Ctrl-C."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    config = {"configurable": {"thread_id": folder.name}, "recursion_limit": _STEPS}
    async with AsyncSqliteSaver.from_conn_string(str(folder.checkpoints)) as saver:
        graph = build_graph(saver)
        snapshot = await graph.aget_state(config)  # type: ignore[arg-type]
        bench.store.upsert("session", [{"id": bench.session, "loop_started": time.time()}])
        outcome = "error"
        async with _heartbeat(bench), _ctrl_c(bench):
            try:
                # `snapshot.next` is empty too when a killed step had written its results but not its checkpoint
                if snapshot.values.get("stage") != "done":
                    if snapshot.values:
                        hold_again(bench, snapshot.values)  # type: ignore[arg-type]
                    start = None if snapshot.values else START_STATE
                    await graph.ainvoke(start, config, context=bench, durability="sync")  # type: ignore[arg-type,call-overload]
                outcome = "completed"
            except BrushupError as error:
                outcome = type(error).__name__
                raise
            finally:
                # an error may cancel LangGraph between a write and its commit; closing alone would not give up the lock
                async with saver.lock:
                    await saver.conn.rollback()
                bench.store.upsert("session", [{"id": bench.session, "ended": time.time(), "outcome": outcome}])


@asynccontextmanager
async def _heartbeat(bench: Workbench) -> AsyncIterator[None]:
    """Write a heartbeat row every two seconds, so that others can tell a living run from a dead one."""

    async def beat() -> None:
        while True:
            bench.store.upsert("heartbeat", [{"session": bench.session, "at": time.time()}])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _ctrl_c(bench: Workbench) -> AsyncIterator[None]:
    """Let the first Ctrl-C finish the step in hand; the second one ends at once."""
    loop = asyncio.get_running_loop()

    def ask_to_stop() -> None:
        if bench.stop.is_set():
            os._exit(130)
        bench.stop.set()
        bench.progress.note("stopping after the step in hand; Ctrl-C again to stop at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, ask_to_stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)

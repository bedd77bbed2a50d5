"""Working through a comparison's runs, in one process or several; what is finished is kept, whatever happens."""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from core.errors import BadInput, BrushupError, Interrupted
from core.progress import Progress, Silent
from experiments.compare.plan import Cell, Plan
from experiments.compare.tables import comparison
from experiments.compare.trace import TRACE_FILE, trace
from experiments.config import RunConfig
from experiments.folder import RunFolder, alone_in, check_name, create_folder, read_json, write_json
from experiments.run import run
from experiments.status import has_facts, reading, refuse_running
from experiments.wiring import Models, open_library
from prompt_db.ledger import in_flight_at_kills
from prompt_db.library import Library

Load = Callable[[RunConfig], Models]
"""Loads a configuration's models; sent to the workers by name, so a function of a module."""
COMPARISON_FILE = "comparison.json"


def run_comparison(
    home: Path, name: str, plan: Plan, progress: Progress, *, load: Load, jobs: int = 1
) -> dict[str, Any]:
    """Bring a comparison to its end, from the start or from where it was killed, and return it.

    Its folder `HOME/NAME` is a home of its own: each run in it is a run like any other, they share its cache.

    Args:
        home: folder of all runs.
        name: the comparison's.
        plan: what is compared.
        progress: told after each run, with an estimate of the time left.
        load: loads the models, once a process.
        jobs: processes; they change nothing but the time.

    Raises:
        BadInput: the folder holds something else, or runs of another configuration.
        BrushupError: a run cannot go on; the same command goes on from there.
        Interrupted: Ctrl-C.
    """
    if jobs < 1:
        raise BadInput(f"--jobs is {jobs}; expected at least 1")
    inner = _prepare(home, name, plan)
    with alone_in(inner, "--run"):
        return _run_all(inner, plan, progress, load=load, jobs=jobs)


def _run_all(inner: Path, plan: Plan, progress: Progress, *, load: Load, jobs: int) -> dict[str, Any]:
    todo = [cell for cell in plan.cells(jobs) if not (_folder(inner, cell) / TRACE_FILE).is_file()]
    total = len(plan.cells())
    if len(todo) < total:
        progress.note(f"{total - len(todo)} of {total} runs are finished already and kept")
    started = time.monotonic()
    for done, finished in enumerate(_work_through(inner, todo, load, jobs), start=1):
        left = (time.monotonic() - started) / done * (len(todo) - done)
        progress.note(f"{total - len(todo) + done} of {total} runs  {finished}  {_minutes(left)} left")
    result = comparison(inner.name, plan, {cell.run: _outcome(inner, cell) for cell in plan.cells()})
    write_json(inner / COMPARISON_FILE, result)
    return result


def _prepare(home: Path, name: str, plan: Plan) -> Path:
    """Create the comparison's folder with its library, and refuse runs that were made otherwise."""
    inner = home / check_name(name)
    if (inner / "config.json").exists():
        raise BadInput(f"{name!r} is a run in {home}, not a comparison; choose another --run")
    for cell in plan.cells():
        folder = RunFolder(inner, cell.run)
        if folder.config_file.is_file():
            if read_json(folder.config_file) != _stored(cell.config):
                raise BadInput(
                    f"{inner} holds {cell.run} with another configuration or budget; give the flags it was begun with, "
                    "or choose another --run"
                )
            refuse_running(folder)
    try:
        inner.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write to {home}: {error.strerror or error}; choose another --home") from None
    corpora = {config.prompts.corpus for config in plan.variants.values()}
    if corpora - {None} and not (inner / "prompts.db").exists():
        Library(home / "prompts.db").copy_to(inner / "prompts.db")
    for corpus in corpora:
        open_library(inner, corpus)[0].close()
    return inner


def _work_through(inner: Path, cells: list[Cell], load: Load, jobs: int) -> Iterator[str]:
    if jobs == 1:
        yield from (_finish(inner, cell, load) for cell in cells)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, max(1, len(cells))), mp_context=context, initializer=_begin_worker)
    try:
        for future in as_completed([pool.submit(_finish, inner, cell, load) for cell in cells]):
            yield future.result()
    except KeyboardInterrupt:
        raise Interrupted("interrupted; nothing is lost") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    """Prepare a worker process: brushup's switches, and an end with its parent even when that is killed."""
    from core.environment import set_switches

    set_switches()
    parent = multiprocessing.parent_process()

    def die_with_parent() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=die_with_parent, daemon=True).start()


def _finish(inner: Path, cell: Cell, load: Load) -> str:
    """Bring one run to its end, measure it, and say what it found."""
    folder = RunFolder(inner, cell.run)
    if not folder.config_file.is_file():
        create_folder(inner, cell.run, _stored(cell.config))
    models = _models(load, cell.config)
    try:
        if not folder.summary_file.is_file():
            run(folder, _without_losses(folder, cell.config), Silent(), started=time.time(), models=models)
        found = trace(folder, cell.config, models)
    except Interrupted:
        raise
    except BrushupError as error:
        raise type(error)(f"run {cell.run}: {error}; the same command goes on from here") from None
    gains = list(found["gains"].values())
    mean = sum(gains) / len(gains) if gains else 0.0
    return f"{cell.run}: gain {mean:+.4f} after {found['loop_renders']} pictures"


def _without_losses(folder: RunFolder, config: RunConfig) -> RunConfig:
    """Return a configuration that lets a run have back the pictures in flight at its kills: equal budgets for all."""
    if config.budget.max_renders is None or not has_facts(folder):
        return config
    with reading(folder) as store:
        lost = in_flight_at_kills(store, "render")
    budget = config.budget.model_copy(update={"max_renders": config.budget.max_renders + lost})
    return config.model_copy(update={"budget": budget})


_LOADED: dict[str, Models] = {}


def _models(load: Load, config: RunConfig) -> Models:
    """Return a configuration's models, loaded once a process; only the last ones are kept."""
    raw = config.model_dump(mode="json")
    key = json.dumps([raw["render"], raw["score"], raw["agents"]["llm"], raw["agents"]["api_base"]])
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = load(config)
    return _LOADED[key]


def _outcome(inner: Path, cell: Cell) -> dict[str, Any]:
    folder = RunFolder(inner, cell.run)
    summary = read_json(folder.summary_file)
    return {**read_json(folder.path / TRACE_FILE), "ledger": summary["ledger"], "holdout": summary["holdout"]}


def _folder(inner: Path, cell: Cell) -> Path:
    return RunFolder(inner, cell.run).path


def _stored(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _minutes(seconds: float) -> str:
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"

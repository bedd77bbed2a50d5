"""Looking at runs from another process, read-only: which are there, which live, what happens in them."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInput
from experiments.folder import RunFolder, all_folders, read_json
from prompt_db.ledger import totals
from prompt_db.run_store import RunStore

DEAD_AFTER = 10.0
"""Seconds without a heartbeat after which a run whose process is gone counts as interrupted."""
STARTING = 60.0
"""Seconds that a run may take for its imports, before its first sign of life."""
_CLOCK_SLACK = 5.0
"""Seconds by which the two clocks behind a process's age may disagree."""


@dataclass(frozen=True)
class Pulse:
    """Whether a run lives.

    Attributes:
        status: `completed`, `running` or `interrupted`.
        pid: process of the last session, None before the first.
        heartbeat_age: seconds since its last sign of life, None before the first.
    """

    status: str
    pid: int | None
    heartbeat_age: float | None


@dataclass(frozen=True)
class RunLine:
    """A run in a list. `best` and `best_minus_naive` are those of the test once it is completed.

    `problem` says why a run's files cannot be read; then `status` is `unreadable`.
    """

    name: str
    status: str
    rounds: int = 0
    renders: int = 0
    best: str = ""
    best_minus_naive: Mapping[str, Any] | None = None
    scorer: str = ""
    heartbeat_age: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Event:
    """A row of a run's event log."""

    id: int
    at: float
    node: str
    round: int
    work: str
    detail: str


@contextmanager
def reading(folder: RunFolder) -> Iterator[RunStore]:
    """Open a run's facts for reading.

    Raises:
        BadInput: damaged, or of a newer schema.
    """
    store = RunStore.reader(folder.database)
    try:
        yield store
    finally:
        store.close()


def has_facts(folder: RunFolder) -> bool:
    """Say whether a run has got as far as having tables; before that it is a folder with a configuration.

    Raises:
        BadInput: damaged, or of a newer schema.
    """
    if not folder.database.is_file():
        return False
    with reading(folder) as store:
        return bool(store.rows("SELECT 1 FROM sqlite_master WHERE name = 'session'"))


def list_runs(home: Path, now: Callable[[], float] = time.time) -> list[RunLine]:
    """Return a line for every run under a home, by name; one that cannot be read does not hide the others."""
    return [_line(folder, now()) for folder in all_folders(home)]


def _line(folder: RunFolder, now: float) -> RunLine:
    try:
        beat = pulse(folder, now)
        if beat.status == "completed":
            summary = read_json(folder.summary_file)
            return RunLine(
                name=folder.name,
                status=beat.status,
                rounds=summary["rounds"],
                renders=summary["ledger"]["renders"],
                best=summary["best_instruction"]["id"],
                best_minus_naive=summary["holdout"]["best_minus_naive"],
                scorer=summary["holdout"]["scorer"],
                heartbeat_age=beat.heartbeat_age,
            )
        if not has_facts(folder):
            return RunLine(folder.name, beat.status, heartbeat_age=beat.heartbeat_age)
        with reading(folder) as store:
            [rounds] = store.rows("SELECT coalesce(max(round), 0) AS n FROM pull")
            renders = int(totals(store)["renders"])
        return RunLine(folder.name, beat.status, rounds["n"], renders, heartbeat_age=beat.heartbeat_age)
    except (BadInput, KeyError) as error:
        return RunLine(folder.name, "unreadable", problem=str(error))


def pulse(folder: RunFolder, now: float) -> Pulse:
    """Return whether a run is completed, running or interrupted, from its summary, its heartbeat and its process.

    Raises:
        BadInput: its files cannot be read.
    """
    if not has_facts(folder):  # the first seconds of a run: it is still importing
        age = max(0.0, now - folder.config_file.stat().st_mtime)
        return Pulse("running" if age < STARTING else "interrupted", None, None)
    with reading(folder) as store:
        found = store.rows(
            "SELECT pid, started, outcome, coalesce(ended, at, loop_started, started) AS beat FROM session"
            " LEFT JOIN heartbeat ON heartbeat.session = session.id ORDER BY session.id DESC LIMIT 1"
        )
    if not found:
        return Pulse("completed" if folder.summary_file.is_file() else "interrupted", None, None)
    last, age = found[0], max(0.0, now - found[0]["beat"])
    over = last["outcome"] not in (None, "completed")  # "completed" without a summary: it is writing its results
    lives = not over and (age < DEAD_AFTER or process_lives(last["pid"], last["started"]))
    if folder.summary_file.is_file():
        return Pulse("completed", last["pid"], age)
    return Pulse("running" if lives else "interrupted", last["pid"], age)


def process_lives(pid: int, started: float) -> bool:
    """Say whether the process that wrote a session still exists: same number, not a zombie, not born later.

    Args:
        pid: its number.
        started: when the session began, `time.time()`.
    """
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists and is another user's
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/stat").read_text(encoding="utf-8").partition("\nbtime ")[2].split()[0]
    except (OSError, IndexError):  # no /proc here: its existence has to do
        return True
    born = int(boot) + int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return stat[0] != "Z" and born <= started + _CLOCK_SLACK


def refuse_running(folder: RunFolder) -> None:
    """Refuse to touch a run that another process is working on: its files have one writer.

    Raises:
        BadInput: that process lives.
    """
    if not has_facts(folder):
        return
    with reading(folder) as store:
        found = store.rows("SELECT pid, started, outcome FROM session ORDER BY id DESC LIMIT 1")
    if found and found[0]["outcome"] is None and found[0]["pid"] != os.getpid():
        pid = found[0]["pid"]
        if process_lives(pid, found[0]["started"]):
            raise BadInput(
                f"run {folder.name!r} is being worked on by process {pid}; follow it with "
                f"`brushup show {folder.name} --watch`, or stop it first"
            )


def events(folder: RunFolder, after: int = 0, last: int | None = None) -> list[Event]:
    """Return a run's events after the one numbered `after`, oldest first; `last` keeps only the newest ones."""
    if not has_facts(folder):
        return []
    with reading(folder) as store:
        rows = store.rows(
            "SELECT id, at, node, round, work, detail FROM event WHERE id > ? ORDER BY id DESC LIMIT ?",
            [after, -1 if last is None else last],
        )
    return [Event(**row) for row in reversed(rows)]


def follow(
    folder: RunFolder,
    *,
    backlog: int = 20,
    every: float = 1.0,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """Yield a run's events, the newest `backlog` first and then each new one, until it is completed or dead.

    Args:
        folder: the run, which another process may be writing.
        backlog: how many past events to begin with.
        every: seconds between two looks.
        now: the clock.
        sleep: waits.
    """
    seen = 0
    limit: int | None = backlog
    while True:
        status = pulse(folder, now()).status  # looked up first, so that nothing written before the end is missed
        for event in events(folder, seen, limit):
            seen, limit = event.id, None
            yield event
        if status != "running":
            return
        sleep(every)


def stored_summary(folder: RunFolder) -> dict[str, Any] | None:
    """Return a completed run's summary, None before that.

    Raises:
        BadInput: the file is damaged.
    """
    return read_json(folder.summary_file) if folder.summary_file.is_file() else None

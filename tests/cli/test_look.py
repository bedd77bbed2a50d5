"""`runs` and `show`: what they tell about completed, running and dead runs, and that they only look."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.records import Instruction
from experiments.details import run_details
from experiments.folder import RunFolder
from experiments.status import follow, process_lives, pulse
from prompt_db.run_store import RunStore
from tests.cli.conftest import Brushup, snapshot, write_toml
from tests.integration.world import stub_config, stub_folder

NOBODY = 2**22 + 1
"""A process number that Linux never gives."""


def unfinish(home: Path, *, pid: int = NOBODY, beat: float = 0.0, outcome: str | None = None) -> RunFolder:
    """Make the finished run look as if its process was working on it `beat` seconds ago."""
    folder = RunFolder(home, "one")
    folder.summary_file.unlink()
    folder.instructions_file.unlink()
    store = RunStore.writer(folder.database)
    at = time.time() - beat
    store.upsert("session", [{"id": 1, "pid": pid, "started": time.time(), "loop_started": at, "outcome": outcome}])
    store.upsert("session", [{"id": 1, "ended": at if outcome else None}])
    store.upsert("heartbeat", [{"session": 1, "at": at}])
    store.close()
    return folder


def test_runs_of_an_empty_home(brushup: Brushup, tmp_path: Path) -> None:
    done = brushup("runs", "--home", tmp_path / "nowhere")
    assert done.code == 0
    assert "no runs" in done.err
    assert "brushup optimize" in done.err
    assert brushup("runs", "--home", tmp_path / "nowhere", "--json").json == []
    assert not (tmp_path / "nowhere").exists()


def test_runs_lists_a_completed_run(brushup: Brushup, home: Path) -> None:
    summary = json.loads((home / "one/summary.json").read_text())
    before = snapshot(home)
    done = brushup("runs", "--home", home, "--json")
    assert done.code == 0
    [line] = done.json
    assert line["name"] == "one"
    assert line["status"] == "completed"
    assert line["rounds"] == summary["rounds"]
    assert line["best"] == summary["best_instruction"]["id"]
    assert line["best_minus_naive"] == summary["holdout"]["best_minus_naive"]
    assert line["renders"] == summary["ledger"]["renders"]
    text = brushup("runs", "--home", home)
    assert text.out == ""
    assert f"{line['best_minus_naive']['mean']:+.2f} [" in text.err  # the fake scorer's numbers are shown as they are
    assert snapshot(home) == before


@pytest.mark.parametrize(
    ("pid_there", "beat", "outcome", "status"),
    [
        (False, 60.0, None, "interrupted"),
        (False, 3.0, None, "running"),
        (True, 60.0, None, "running"),
        (False, 3.0, "Interrupted", "interrupted"),
        (True, 3.0, "ProviderError", "interrupted"),
        (True, 60.0, "completed", "running"),
        (False, 60.0, "completed", "interrupted"),
    ],
)
def test_status_of_an_unfinished_run(
    home: Path, brushup: Brushup, pid_there: bool, beat: float, outcome: str | None, status: str
) -> None:
    unfinish(home, pid=os.getpid() if pid_there else NOBODY, beat=beat, outcome=outcome)
    [line] = brushup("runs", "--home", home, "--json").json
    assert line["status"] == status
    assert line["best"] == ""
    assert line["best_minus_naive"] is None
    assert line["rounds"] == 2
    assert line["renders"] > 0
    assert beat <= line["heartbeat_age"] < beat + 30
    text = brushup("runs", "--home", home).err
    assert ("brushup resume one" in text) == (status == "interrupted")


def test_a_run_that_is_only_a_folder(brushup: Brushup, tmp_path: Path) -> None:
    folder = stub_folder(tmp_path, stub_config(tmp_path))
    now = folder.config_file.stat().st_mtime
    assert pulse(folder, now + 2).status == "running", "it is importing"
    assert pulse(folder, now + 90).status == "interrupted"
    done = brushup("show", "one", "--home", folder.home)
    assert done.code == 0
    assert "run one" in done.err
    assert brushup("show", "one", "--home", folder.home, "--json").json["arms"] == []


def test_a_run_whose_tables_are_not_made_yet(brushup: Brushup, tmp_path: Path) -> None:
    folder = stub_folder(tmp_path, stub_config(tmp_path))
    sqlite3.connect(folder.database).close()
    folder.database.touch()
    assert brushup("runs", "--home", folder.home, "--json").json[0]["status"] == "running"
    assert brushup("show", "one", "--home", folder.home, "--json").json["arms"] == []
    brushup("refine", "a cat", "--run", "one", "--instruction", "r0c0", "--home", folder.home).refused("has not begun")


def test_a_process_born_after_the_session_is_another_one() -> None:
    assert process_lives(os.getpid(), time.time())
    assert not process_lives(os.getpid(), time.time() - 10**6)
    assert not process_lives(NOBODY, time.time())


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    deadline = time.time() + 20
    while process_lives(child.pid, time.time()) and time.time() < deadline:
        time.sleep(0.02)
    assert not process_lives(child.pid, time.time())
    child.wait()


def test_resume_leaves_a_run_alone_that_another_process_works_on(brushup: Brushup, models, home: Path) -> None:
    parent = os.getppid()
    unfinish(home, pid=parent, beat=1.0)
    before = snapshot(home)
    done = brushup("resume", "one", "--home", home, "--max-renders", 4000)
    done.refused(f"process {parent}", "brushup show one --watch")
    assert snapshot(home) == before


def test_show_a_completed_run(brushup: Brushup, home: Path) -> None:
    before = snapshot(home)
    done = brushup("show", "one", "--home", home, "--json")
    assert done.code == 0
    shown = done.json
    found = json.loads((home / "one/instructions.json").read_text())
    assert shown["status"] == "completed"
    assert shown["summary"] == json.loads((home / "one/summary.json").read_text())
    assert shown["stop_reason"] == shown["summary"]["stop_reason"]
    keys = ("id", "parent", "round", "origin", "text", "retired", "finalist", "pulls", "blocks")
    assert [{k: arm[k] for k in keys} for arm in shown["arms"]] == [
        {k: arm[k] for k in keys} for arm in found["instructions"]
    ]
    for arm, other in zip(shown["arms"], found["instructions"], strict=True):
        assert arm["mean"] == pytest.approx(other["mean"])
    assert [arm["id"] for arm in shown["arms"] if arm["best"]] == [found["best"]]
    assert shown["gradient"]["text"]
    assert shown["unknown_calls"] == []
    assert shown["last_event"]["node"] == "done"
    text = brushup("show", "one", "--home", home).err
    for words in ("textual gradient of round", "best, finalist", "last event: done", "20 unseen prompts", "r0c0"):
        assert words in text
    assert "heartbeat" not in text
    assert snapshot(home) == before


def test_show_a_dead_run_with_failures_and_unknown_calls(brushup: Brushup, home: Path) -> None:
    folder = unfinish(home, beat=60)
    store = RunStore.writer(folder.database)
    lost = {"replicate": 9, "text": "", "error": "lost-subject: words of the user's prompt are missing: cat"}
    store.upsert("refinement", [{"arm": "r0c0", "prompt_id": f"p{k}", **lost} for k in range(3)])
    store.upsert("render", [{"arm": "r0c0", "block_id": "b1", "error": "the picture is black", "key": "k"}])
    store.upsert("pull", [{"id": "r2p9", "round": 2, "k": 9, "arm": "r0c0", "batch": 9, "status": "failed"}])
    store.append("unknown_call", {"charge_id": "llm:refine/r0c0/x/0:1", "kind": "llm", "session": 1})
    store.retire(["r1c0"], 2)
    store.close()
    shown = brushup("show", "one", "--home", home, "--json").json
    assert shown["status"] == "interrupted"
    assert shown["failures"] == {"refine: lost-subject": 3, "pull: no result": 1, "render: the picture is black": 1}
    assert [call["charge_id"] for call in shown["unknown_calls"]] == ["llm:refine/r0c0/x/0:1"]
    assert shown["summary"] is None
    assert [arm["id"] for arm in shown["arms"] if arm["retired"]] == ["r1c0"]
    assert sum(arm["best"] for arm in shown["arms"]) == 1, "the leader"
    text = brushup("show", "one", "--home", home).err
    for words in (
        "run one: interrupted",
        "failed 3 x refine: lost-subject",
        "1 calls were in flight at a kill",
        "retired",
        "last heartbeat 6",
        f"brushup resume one --home {home}",
    ):
        assert words in text, text


def test_children_are_shown_under_their_parent_and_markup_is_text(brushup: Brushup, home: Path) -> None:
    store = RunStore.writer(home / "one" / "run.db")
    store.add_instructions([Instruction("r9c0", "Add [/bold] [red]words[/red].", "r0c0", 9)])
    store.close()
    text = brushup("show", "one", "--home", home).err
    assert "  r9c0" in text
    text = brushup("show", "one", "--home", home, "--instruction", "r9c0").err
    assert text.splitlines() == ["r9c0, child of r0c0 (modifier):", "Add [/bold] [red]words[/red].", ""]
    assert "expected one of run 'one': r0c0, " in brushup("show", "one", "--home", home, "--instruction", "x").err


def test_watch_shows_the_events_of_a_dead_run_and_ends(brushup: Brushup, home: Path) -> None:
    unfinish(home, beat=60)
    done = brushup("show", "one", "--watch", "--home", home)
    assert done.code == 0
    assert "settle" in done.err
    assert "run one: interrupted" in done.err
    quiet = brushup("show", "one", "--watch", "--json", "--home", home)
    assert quiet.json["status"] == "interrupted"


def test_ctrl_c_leaves_the_watch_quietly(brushup: Brushup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinish(home, pid=os.getpid())

    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.status.follow.__kwdefaults__", {**follow.__kwdefaults__, "sleep": pressed})
    done = brushup("show", "one", "--watch", "--home", home)
    assert done.code == 0
    assert "interrupt" not in done.err.lower()
    assert "Traceback" not in done.err


def test_follow_yields_what_is_written_while_it_waits_and_stops_at_the_end(home: Path) -> None:
    folder = unfinish(home, beat=0)
    now = [time.time()]
    steps = iter(["first", "second"])

    def sleep(seconds: float) -> None:
        name = next(steps, None)
        now[0] += seconds if name else 60.0
        if name:
            store = RunStore.writer(folder.database)
            store.append("event", {"session": 1, "at": now[0], "node": name, "round": 1, "work": "", "detail": ""})
            store.close()

    seen = [event.node for event in follow(folder, backlog=2, now=lambda: now[0], sleep=sleep)]
    assert len(seen) == 4
    assert seen[-2:] == ["first", "second"]


@pytest.mark.slow
def test_watching_a_living_process_until_it_is_killed(brushup: Brushup, tmp_path: Path) -> None:
    write_toml(tmp_path)
    folder = stub_folder(tmp_path, stub_config(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.driver", str(tmp_path), "0.2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not folder.database.is_file() and process.poll() is None:
        time.sleep(0.05)
    seen = []
    for event in follow(folder, every=0.1):
        seen.append(event.node)
        if len(seen) == 5:
            assert pulse(folder, time.time()).status == "running"
            assert run_details(folder).status == "running"
            brushup("resume", "one", "--home", folder.home).refused(f"process {process.pid}")
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed = time.time()
    assert len(seen) >= 5
    assert time.time() - killed < 30
    assert brushup("show", "one", "--home", folder.home, "--json").json["status"] == "interrupted"
    with sqlite3.connect(folder.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()

"""kill -9 at any moment, then resume: the same result, and nothing is paid for twice."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from core.errors import Interrupted
from core.progress import Silent
from experiments.folder import RunFolder
from experiments.run import run
from experiments.wiring import Models
from prompt_db.run_store import RunStore
from tests.fakes import FakeRenderer, fake_models
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow

KILLS = 24
CHUNK = 16
"""The larger of the fakes' chunks: what one kill may repeat of a kind."""
FACTS = {
    "pull": "SELECT id, arm, batch, status FROM pull ORDER BY id",
    "refinement": "SELECT arm, prompt_id, replicate, text, error FROM refinement ORDER BY 1, 2, 3",
    "score": "SELECT arm, block_id, scorer, value FROM score ORDER BY 1, 2, 3",
    "render": "SELECT arm, block_id, key FROM render ORDER BY 1, 2",
}


def facts(folder: RunFolder) -> dict[str, list[dict[str, object]]]:
    store = RunStore.reader(folder.database)
    try:
        return {name: store.rows(sql) for name, sql in FACTS.items()}
    finally:
        store.close()


def stable(summary: dict[str, object]) -> dict[str, object]:
    ledger = {
        key: value
        for key, value in summary["ledger"].items()  # type: ignore[attr-defined]
        if not key.endswith(("_seconds", "_cached")) and key != "unknown"
    }
    return {**summary, "ledger": ledger}


def calls(tmp: Path) -> list[str]:
    log = tmp / "calls.jsonl"
    return log.read_text().splitlines() if log.exists() else []


def start(tmp: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "BRUSHUP_CALL_LOG": str(tmp / "calls.jsonl")}
    command = [sys.executable, "-m", "tests.integration.driver", str(tmp), "0.01"]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def kill_after(process: subprocess.Popen[bytes], tmp: Path, more_calls: int, pause: float) -> None:
    """Kill -9 once the process has made so many calls and a random moment has passed, unless it ends before."""
    target, deadline = len(calls(tmp)) + more_calls, time.time() + 60
    while process.poll() is None and len(calls(tmp)) < target and time.time() < deadline:
        time.sleep(0.003)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, object], Path]:
    """A run that nobody interrupts."""
    tmp = tmp_path_factory.mktemp("whole")
    config = stub_config(tmp)
    folder = stub_folder(tmp, config)
    summary = run(folder, config, Silent(), started=time.time(), models=fake_models())
    return folder, summary, tmp


def same_config(summary: dict[str, object]) -> dict[str, object]:
    """Leave out where the prompts' file lies: the two runs read copies of it in two folders."""
    config = {key: dict(value) for key, value in summary["config"].items()}  # type: ignore[attr-defined]
    config["prompts"].pop("file")
    return {**stable(summary), "config": config}


@pytest.mark.slow
def test_killed_at_random_points_ends_as_if_never_killed(whole, tmp_path: Path) -> None:
    reference, summary, _ = whole
    folder = stub_folder(tmp_path, stub_config(tmp_path))
    rng, seen = random.Random(7), [0]  # noqa: S311
    for number in range(KILLS):
        process = start(tmp_path)
        if number % 6 == 0:  # some die while they start, before any call
            time.sleep(rng.uniform(0.05, 1.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
        else:
            kill_after(process, tmp_path, rng.randrange(1, 60), rng.uniform(0, 0.03))
        assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()[-2000:]
        seen.append(len(calls(tmp_path)))
    last = start(tmp_path)
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors.decode()[-2000:]

    assert folder.instructions_file.read_bytes() == reference.instructions_file.read_bytes()
    assert facts(folder) == facts(reference)
    assert same_config(json.loads(folder.summary_file.read_text())) == same_config(summary)
    log = calls(tmp_path)
    for end in seen[1:]:
        repeated = set(log[:end]) & set(log[end:])
        assert len(repeated) <= CHUNK * len(seen), "each kill may repeat one chunk"
    repeats = sum(count - 1 for count in Counter(log).values())
    assert repeats <= CHUNK * KILLS
    for begin, end in itertools.pairwise(seen):
        fresh = [line for line in log[begin:end] if line in set(log[end:])]
        assert len(fresh) <= CHUNK, f"a kill cost {len(fresh)} calls, more than a chunk"


def test_uninterrupted_run_calls_nothing_twice_and_a_second_run_calls_nothing(whole, monkeypatch) -> None:
    _, summary, tmp = whole
    log = tmp / "calls.jsonl"
    monkeypatch.setenv("BRUSHUP_CALL_LOG", str(log))
    config = stub_config(tmp)
    again = run(stub_folder(tmp, config, "again"), config, Silent(), started=time.time(), models=fake_models())
    assert not log.exists(), "everything came from the home's cache"
    assert {**stable(again), "run": ""} == {**stable(summary), "run": ""}
    assert again["ledger"]["renders_cached"] == again["ledger"]["renders"]


def test_resuming_a_finished_run_changes_nothing(whole) -> None:
    folder, summary, tmp = whole
    before = folder.instructions_file.read_bytes()
    again = run(folder, stub_config(tmp), Silent(), started=time.time(), models=fake_models())
    assert folder.instructions_file.read_bytes() == before
    assert stable(again) == stable(summary)


def test_ctrl_c_ends_after_the_step_in_hand_and_resumes(whole, tmp_path: Path) -> None:
    reference, _, _ = whole
    config = stub_config(tmp_path)
    folder = stub_folder(tmp_path, config)

    class Interrupting(FakeRenderer):
        asked = False

        def render(self, requests):
            if len(self.drawn) > 60 and not self.asked:  # a second Ctrl-C would end the process at once
                self.asked = True
                os.kill(os.getpid(), signal.SIGINT)
            return super().render(requests)

    models = fake_models()
    stopped = Models(models.chat, Interrupting(), models.scorer, models.watched)
    with pytest.raises(Interrupted):
        run(folder, config, Silent(), started=time.time(), models=stopped)
    run(folder, config, Silent(), started=time.time(), models=fake_models())
    assert folder.instructions_file.read_bytes() == reference.instructions_file.read_bytes()

"""Comparisons on the stub world: fair, uncharged where they only watch, the same however they were worked through."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from core.progress import Silent
from experiments.compare.plan import make_plan
from experiments.compare.run import run_comparison
from experiments.folder import RunFolder, alone_in, create_folder, read_json
from experiments.status import list_runs
from prompt_db.run_store import RunStore
from tests.integration.compare_driver import load, stub_plan, write_toml

pytestmark = pytest.mark.slow


def stable(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what depends on the clock."""
    tables = {
        table: {level: {**row, "seconds": 0} for level, row in found[table].items()}
        for table in ("policies", "batch_sizes", "configs")
    }
    return {**found, **tables}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A comparison in one process that nobody interrupts."""
    tmp = tmp_path_factory.mktemp("whole")
    return tmp, run_comparison(tmp / "runs", "cmp", stub_plan(tmp), Silent(), load=load)


def test_it_has_the_documented_form(whole) -> None:
    tmp, found = whole
    assert found == read_json(tmp / "runs" / "cmp" / "comparison.json")
    assert list(found["policies"]) == ["greedy", "uniform"]
    assert list(found["batch_sizes"]) == ["2", "3"]
    for row in (*found["policies"].values(), *found["batch_sizes"].values()):
        assert {"gain", "ci95", "regret", "renders_to_90", "censored"} <= row.keys()
        assert row["ci95"][0] <= row["gain"] <= row["ci95"][1]
        assert row["regret"] >= 0
    assert [set(pair) for pair in found["pairs"]] == [{"a", "b", "difference", "ci95", "p_adjusted"}]
    pair = found["pairs"][0]
    gains = {name: found["policies"][name]["gain"] for name in ("greedy", "uniform")}
    assert pair["difference"] == pytest.approx(gains["greedy"] - gains["uniform"])
    assert pair["p_adjusted"] >= 0.5, "two replicates cannot show more"


def test_somebody_has_no_regret_in_each_replicate(whole) -> None:
    _, found = whole
    for replicate in range(2):
        gains = {run["variant"]: run["gain"] for run in found["runs"] if run["replicate"] == replicate}
        best = max(gains[f"{policy}-b3"] for policy in ("greedy", "uniform"))
        assert best in gains.values()
    total = sum(row["regret"] for row in found["policies"].values())
    assert total == pytest.approx(abs_difference(found))


def abs_difference(found: dict[str, Any]) -> float:
    """With two policies the regrets of a replicate add up to the distance of their gains."""
    by_run = {run["run"]: run["gain"] for run in found["runs"]}
    return sum(abs(by_run[f"greedy-b3-r{r}"] - by_run[f"uniform-b3-r{r}"]) for r in range(2)) / 2


def test_each_run_pays_as_if_alone_and_never_for_being_watched(whole) -> None:
    tmp, found = whole
    for run in found["runs"]:
        folder = RunFolder(tmp / "runs" / "cmp", run["run"])
        store = RunStore.reader(folder.database)
        loop = store.rows("SELECT count(*) AS n FROM charge WHERE kind = 'render' AND id LIKE '%:train/%'")[0]["n"]
        charged = store.rows("SELECT id FROM charge WHERE kind = 'render' AND id LIKE '%:test/%'")
        scored = store.raw_scores("fake-scorer", "test")
        store.close()
        assert run["loop_renders"] == loop <= 70
        watched = {arm for _, arm, _ in run["curve"]}
        assert watched <= set(scored)
        assert {row["id"].split(":")[1] for row in charged} <= {"naive", "r0c0", "frequent", run["recommended"]}
        assert run["curve"][-1][1] == run["recommended"]
        assert run["curve"][-1][2] == pytest.approx(run["gain"])


def test_the_runs_are_runs_like_any_other(whole) -> None:
    tmp, _ = whole
    lines = list_runs(tmp / "runs" / "cmp")
    assert len(lines) == 8, "four variants (ucb1 with two batch sizes) in two replicates"
    assert {line.status for line in lines} == {"completed"}
    assert not list_runs(tmp / "runs"), "a comparison is not a run"


def test_policies_meet_the_same_held_out_prompts_and_replicates_others(whole) -> None:
    tmp, _ = whole

    def prompts(run: str) -> set[str]:
        return set(read_json(tmp / "runs" / "cmp" / run / "trace.json")["groups"])

    assert prompts("greedy-b3-r0") == prompts("uniform-b3-r0") != prompts("uniform-b3-r1")


def test_two_workers_and_a_kill_change_nothing(whole, tmp_path: Path) -> None:
    _, found = whole
    command = [sys.executable, "-m", "tests.integration.compare_driver", str(tmp_path), "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    inner, deadline = tmp_path / "runs" / "cmp", time.time() + 120
    while process.poll() is None and len(list(inner.glob("*/trace.json"))) < 2 and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in inner.glob("*/trace.json")}
    assert 2 <= len(kept) < 8, "it was killed in the middle"
    wait_for_orphans(process.pid)
    done = subprocess.run(command, check=False, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was finished is not done again"
    assert stable(read_json(inner / "comparison.json")) == stable(found)


def wait_for_orphans(session: int) -> None:
    """Wait until the workers of a killed process are gone: they end with it, within seconds."""
    deadline = time.time() + 20
    while any_of(session) and time.time() < deadline:
        time.sleep(0.05)
    assert not any_of(session), "a worker outlived its parent"


def any_of(session: int) -> list[str]:
    """Return the living processes of a session (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == session and int(stat.parent.name) != os.getpid():
            found.append(stat.parent.name)
    return found


def test_other_flags_under_the_same_name_are_refused(whole) -> None:
    tmp, _ = whole
    with pytest.raises(BadInput, match="another configuration or budget"):
        run_comparison(tmp / "runs", "cmp", stub_plan(tmp, budget_renders=80), Silent(), load=load)


def test_two_commands_at_once_are_refused(whole) -> None:
    tmp, _ = whole
    with alone_in(tmp / "runs" / "cmp", "--run"), pytest.raises(BadInput, match="worked on by another process"):
        run_comparison(tmp / "runs", "cmp", stub_plan(tmp), Silent(), load=load)


def test_more_policies_and_fewer_replicates_use_what_is_there(whole) -> None:
    tmp, found = whole
    less = run_comparison(tmp / "runs", "cmp", stub_plan(tmp, replicates=1, batch_sizes=[]), Silent(), load=load)
    assert list(less["policies"]) == ["greedy", "uniform"]
    assert less["batch_sizes"] == {}
    run = next(run for run in found["runs"] if run["run"] == "greedy-b3-r0")
    assert less["policies"]["greedy"]["gain"] == pytest.approx(run["gain"])


def test_configurations_are_compared_as_they_are(tmp_path: Path) -> None:
    files = [
        write_toml(tmp_path, "full", run={"rounds": 3}),
        write_toml(tmp_path, "no-gradient", run={"rounds": 3}, loop={"gradient": "none"}),
        write_toml(tmp_path, "shuffled", run={"rounds": 3}, loop={"gradient": "shuffled"}),
    ]
    plan = make_plan(tmp_path / "runs", files, policies=[], batch_sizes=[], replicates=1, budget_renders=70)
    found = run_comparison(tmp_path / "runs", "loops", plan, Silent(), load=load)
    assert list(found["configs"]) == ["full", "no-gradient", "shuffled"]
    assert len(found["config_pairs"]) == 3
    gradients = {}
    for name in found["configs"]:
        store = RunStore.reader(tmp_path / "runs" / "loops" / f"{name}-r0" / "run.db")
        gradients[name] = store.rows("SELECT text, error FROM gradient ORDER BY round")[0]
        store.close()
    assert gradients["no-gradient"] == {"text": "", "error": ""}
    assert gradients["shuffled"]["text"] not in ("", gradients["full"]["text"])


def test_proposals_are_shared_unless_told_otherwise(tmp_path: Path) -> None:
    for own, evidence in ((False, "lineage"), (True, "all")):
        variants = stub_plan(tmp_path, own_proposals=own).variants
        assert {config.loop.evidence for config in variants.values()} == {evidence}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policies": ["best"]}, "--policies has 'best'"),
        ({"budget_renders": None}, "--budget-renders is missing"),
        ({"budget_renders": 5}, "a pull of 3 blocks takes 6"),
        ({"replicates": 0}, "--replicates is 0"),
        ({"batch_sizes": [0]}, "batch_size"),
    ],
)
def test_bad_flags_are_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        stub_plan(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_json_has_no_nan(whole) -> None:
    json.dumps(whole[1], allow_nan=False)


def test_pictures_lost_at_a_kill_do_not_count_against_a_budget(whole, tmp_path: Path) -> None:
    plan = stub_plan(tmp_path)
    cell = plan.cells()[0]
    folder = create_folder(tmp_path / "runs" / "cmp", cell.run, cell.config.model_dump(mode="json"))
    store = RunStore.writer(folder.database)
    store.append("session", {"pid": 2**22 + 1, "started": time.time() - 60})
    lost = ({"id": f"render:lost-{k}", "kind": "render", "status": "reserved"} for k in range(9))
    store.upsert("charge", lost)
    store.close()
    found = run_comparison(tmp_path / "runs", "cmp", plan, Silent(), load=load)
    assert found["runs"] == whole[1]["runs"], "as many pictures as without the kill, and so the same result"
    assert read_json(folder.summary_file)["ledger"]["unknown"] == {"render": 9}

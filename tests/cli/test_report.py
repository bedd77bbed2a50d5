"""`brushup report`: pages of completed, running, dead and empty runs, of several runs, and of a comparison."""

import json
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from bandit.bootstrap import bootstrap_mean
from core.records import NAIVE
from experiments.details import as_estimate, run_config
from experiments.evidence import gather
from experiments.folder import RunFolder, write_json
from experiments.paired import by_prompt
from experiments.report.single import run_report
from experiments.verdict import verdict
from prompt_db.run_store import RunStore
from tests.cli.conftest import Brushup, Result, snapshot
from tests.cli.test_look import NOBODY, unfinish
from tests.integration.world import stub_config, stub_folder
from tests.reports.reader import Page, check

pytestmark = pytest.mark.slow  # matplotlib draws each chart in a tenth of a second


def page_of(done: Result, path: Path) -> Page:
    assert done.code == 0, done.err
    return check(path.read_text(encoding="utf-8"))


def test_a_completed_run(brushup: Brushup, warm: Path, tmp_path: Path) -> None:
    summary = json.loads((warm / "one/summary.json").read_text())
    before = snapshot(warm)
    out = tmp_path / "report.html"
    done = brushup("report", "one", "-o", out, "--home", warm, "--json")
    page = page_of(done, out)
    first, *_ = verdict(summary).splitlines()
    assert done.json == {"runs": ["one"], "kind": "run", "verdict": first, "file": str(out)}
    assert first in page.title
    assert first in page.words
    assert page.words.index(first) < page.words.index("The test"), "the verdict comes first"
    for key in ("naive", "initial", "frequent"):
        low, high = summary["holdout"][f"best_minus_{key}"]["ci95"]
        assert f"[{low:+.2f}, {high:+.2f}]".replace("-", "−") in page.words
    for words in (summary["best_instruction"]["text"].splitlines()[0], "Why this won", "Family tree", "fake-watched"):
        assert words in page.text
    for warning in summary["warnings"]:
        assert warning in page.text
    assert len(page.all("img")) >= 24
    assert {chart["viewbox"].split()[2] for chart in page.all("svg")} == {"400"}
    assert snapshot(warm) == before, "a report only looks"
    assert out.stat().st_size < 2_000_000


def test_the_duels_agree_with_the_summary_and_are_on_shared_blocks(warm: Path) -> None:
    folder = RunFolder(warm, "one")
    summary = json.loads(folder.summary_file.read_text())
    found = run_report(folder)
    mine, *others = found.duels
    assert mine.rival == "your prompt"
    [test] = [line for line in mine.lines if line.split == "test"]
    assert test.lead == as_estimate(summary["holdout"]["best_minus_naive"])
    assert (test.blocks, test.wins + test.ties + test.losses) == (20, 20)
    assert found.validation == as_estimate(summary["best_instruction"])
    if summary["best_instruction"]["parent"]:
        assert any(summary["best_instruction"]["parent"] == duel.rival for duel in others)
    evidence = gather(folder, run_config(folder), found.scorer)
    for duel in others:
        for line in duel.lines:
            assert set(evidence.lead(line.split, found.best, duel.rival)) == set(
                evidence.scored(line.split, found.best)
            ) & set(evidence.scored(line.split, duel.rival))
            assert line.blocks == len(evidence.lead(line.split, found.best, duel.rival)) > 0
    assert found.phrases
    for line in found.phrases:
        assert 2 <= line.best <= line.of == 20
        assert 0 <= line.initial <= 20
    for example in mine.won:
        assert example.lead > 0
        assert example.ours.score is not None
        assert example.theirs.prompt == example.naive
    assert all(example.lead < 0 for example in mine.lost)


def test_intervals_are_drawn_with_the_seeds_of_the_evaluation(warm: Path) -> None:
    folder = RunFolder(warm, "one")
    config = run_config(folder)
    seeded = config.model_copy(update={"run": config.run.model_copy(update={"seed": 5, "holdout_seed": 7})})
    evidence = gather(folder, seeded, "fake-scorer")
    for split, seed in (("validation", 5), ("test", 7)):
        values = evidence.rewards(split, next(a for a in evidence.scores if a != NAIVE and evidence.scored(split, a)))
        grouped = by_prompt(values, {block: evidence.blocks[block].prompt_id for block in values})
        assert evidence.estimate(values) == bootstrap_mean(grouped, seed=seed)


def test_the_last_round_ends_with_what_show_tells(warm: Path, brushup: Brushup) -> None:
    found = run_report(RunFolder(warm, "one"))
    shown = {arm["id"]: arm for arm in brushup("show", "one", "--home", warm, "--json").json["arms"]}
    last = found.rounds[-1]
    assert last.lead.mean == pytest.approx(shown[last.leader]["mean"])
    for arm in found.arms:
        assert (arm.reward.mean if arm.reward else None) == pytest.approx(shown[arm.id]["mean"])
    evidence = gather(RunFolder(warm, "one"), run_config(RunFolder(warm, "one")), found.scorer)
    drawn = [key for key in evidence.drawn if evidence.blocks[key[1]].split == "train"]
    assert last.renders == len(drawn)
    assert any(arm == NAIVE for arm, _ in drawn)


@pytest.mark.parametrize(("beat", "pid"), [(60.0, NOBODY), (0.0, NOBODY)], ids=["interrupted", "running"])
def test_an_unfinished_run_says_what_is_missing(
    brushup: Brushup, warm: Path, tmp_path: Path, beat: float, pid: int
) -> None:
    folder = unfinish(warm, beat=beat, pid=pid)
    store = RunStore.writer(folder.database)
    lost = {"replicate": 9, "text": "", "error": "lost-subject: <b>cat</b> is missing"}
    store.upsert("refinement", [{"arm": "r0c0", "prompt_id": "p0", **lost}])
    store.close()
    with sqlite3.connect(folder.database) as database:
        for table in ("score", "render"):
            database.execute(f"DELETE FROM {table} WHERE block_id NOT LIKE 'train/%'")
        database.execute("DELETE FROM fact WHERE name = 'stop_reason'")
    out = tmp_path / "report.html"
    page = page_of(brushup("report", "one", "-o", out, "--home", warm), out)
    status = "interrupted" if beat else "running"
    for words in (
        f"no verdict yet: the run is {status} in round 2",
        "best so far: ",
        "What is missing",
        "the test on unseen prompts, without which no gain is shown",
        "Why this leads",
        "refine: lost-subject",
        f"brushup {'resume one' if beat else 'show one --watch'} --home",
    ):
        assert words in page.words, words
    assert "Why this won" not in page.words
    assert page.all("img"), "pictures of the train prompts"


@pytest.mark.parametrize("facts", [False, True])
def test_a_run_without_results_is_a_page_too(brushup: Brushup, tmp_path: Path, facts: bool) -> None:
    folder = stub_folder(tmp_path, stub_config(tmp_path))
    if facts:
        store = RunStore.writer(folder.database)
        store.append("session", {"pid": NOBODY, "started": time.time() - 60})
        store.close()
    out = tmp_path / "report.html"
    page = page_of(brushup("report", "one", "-o", out, "--home", folder.home), out)
    assert "nothing has been scored" in page.title
    assert "No instruction has a result yet." in page.words


def test_pruned_pictures_are_said_to_be_gone(brushup: Brushup, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    page = page_of(brushup("report", "one", "-o", out, "--home", home), out)
    assert page.all("img") == []
    assert "the picture is no longer in the cache" in page.words


def test_runs_side_by_side(brushup: Brushup, warm: Path, tmp_path: Path) -> None:
    shutil.copytree(warm / "one", warm / "two")
    out = tmp_path / "report.html"
    done = brushup("report", "one", "two", "-o", out, "--home", warm, "--json")
    page = page_of(done, out)
    assert done.json["kind"] == "comparison"
    assert done.json["verdict"].startswith("highest gain: one, ")
    assert "it cannot be told apart from two" in page.words
    assert "mean rank over 20 shared test prompts" in page.words
    assert len(page.all("img")) >= 6
    config = json.loads((warm / "two/config.json").read_text())
    config["bandit"]["policy"] = "greedy"
    write_json(warm / "two/config.json", config)
    (warm / "two/summary.json").unlink()
    page = page_of(brushup("report", "one", "two", "-o", out, "--home", warm), out)
    assert "no test yet: two" in page.words
    assert "the runs differ in bandit.policy" in page.words


def test_runs_of_several_seeds_are_also_compared_by_policy(brushup: Brushup, warm: Path, tmp_path: Path) -> None:
    names = [f"{policy}-{seed}" for policy in ("ucb1", "greedy") for seed in (0, 1)]
    for name in names:
        shutil.copytree(warm / "one", warm / name)
        config = json.loads((warm / name / "config.json").read_text())
        config["bandit"]["policy"], config["run"]["seed"] = name[:-2], int(name[-1])
        write_json(warm / name / "config.json", config)
    out = tmp_path / "report.html"
    page = page_of(brushup("report", *names, "-o", out, "--home", warm), out)
    assert "highest gain: ucb1, " in page.title
    for words in ("By policy", "By run", "mean rank over 2 replicates", "Paired by seeds (2 that all have)"):
        assert words in page.words, words
    config["agents"]["keep"] = "verbatim"
    write_json(warm / names[-1] / "config.json", config)
    page = page_of(brushup("report", *names, "-o", out, "--home", warm), out)
    assert "By policy" not in page.words, "runs of other settings are no replicates"


COMPARISON = {
    "scorer": "hpsv2:x",
    "replicates": 3,
    "policies": {
        "ucb1": {
            "variant": "ucb1-b4",
            "gain": 0.05,
            "ci95": [0.03, 0.07],
            "regret": 0.0,
            "renders_to_90": 80,
            "censored": 0,
            "by_group": {"anime": {"gain": 0.07, "ci95": [0.06, 0.08]}},
        },
        "<b>x</b>": {
            "variant": "x",
            "gain": 0.01,
            "ci95": [-0.01, 0.03],
            "regret": 0.04,
            "renders_to_90": 200,
            "censored": 3,
            "by_group": {"anime": {"gain": -0.02, "ci95": [-0.03, 0.01]}},
        },
    },
    "pairs": [{"a": "ucb1", "b": "<b>x</b>", "difference": 0.04, "ci95": [0.01, 0.06], "p_adjusted": 0.01}],
    "runs": [
        {
            "run": f"{name}-r{k}",
            "variant": name,
            "replicate": k,
            "gain": gain,
            "curve": [[9, "a", 0.0], [99, "b", gain]],
        }
        for name, gain in (("ucb1-b4", 0.05), ("x", 0.01))
        for k in range(3)
    ],
}


def test_a_stored_comparison(brushup: Brushup, tmp_path: Path) -> None:
    (tmp_path / "runs/both").mkdir(parents=True)
    write_json(tmp_path / "runs/both/comparison.json", COMPARISON)
    out = tmp_path / "report.html"
    page = page_of(brushup("report", "both", "-o", out, "--home", tmp_path / "runs"), out)
    assert "highest gain: ucb1, +5.00 ± 2.00 over your prompts" in page.title
    for words in (
        "it can be told apart from every other policy",
        "mean rank over 3 replicates",
        "+1.00 [−1.00, +3.00] 4.00 ≥ 200 3",
        "policy anime ucb1 +7.00 [+6.00, +8.00] <b>x</b> −2.00 [−3.00, +1.00]",
        "Every pair can be told apart.",
        "<b>x</b>",
        "How fast they learned",
    ):
        assert words in page.words, words
    least = {key: COMPARISON[key] for key in ("policies", "pairs")}  # what the format promises, and no more
    write_json(tmp_path / "runs/both/comparison.json", least)
    page_of(brushup("report", "both", "-o", out, "--home", tmp_path / "runs"), out)


def test_what_cannot_be_reported(brushup: Brushup, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    brushup("report", "none", "-o", out, "--home", home).refused("no run 'none'", "one")
    brushup("report", "one", "one", "-o", out, "--home", home).refused("named twice")
    brushup("report", "one", "-o", tmp_path, "--home", home).refused("--output", "a folder")
    (home / "both").mkdir()
    shutil.copytree(home / "one", home / "both/inner")
    brushup("report", "both", "-o", out, "--home", home).refused("not finished", "brushup compare")
    write_json(home / "both/comparison.json", COMPARISON)
    brushup("report", "both", "one", "-o", out, "--home", home).refused("'both' is a comparison")
    (home / "both/comparison.json").write_text("{")
    brushup("report", "both", "-o", out, "--home", home).refused("damaged")
    write_json(home / "both/comparison.json", {"policies": {"ucb1": 3}})
    brushup("report", "both", "-o", out, "--home", home).refused("not what `brushup compare` writes")
    assert not out.exists()

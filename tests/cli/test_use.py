"""`export`, `refine` and `prompts`: taking a result out of a run, using it, and filling the library."""

import json
from pathlib import Path

import pytest

from agents.initial import INITIAL_INSTRUCTION
from agents.messages import load_templates
from agents.offline.model import OfflineChatModel
from core.records import ChatRequest, Completion
from prompt_db.run_store import RunStore
from tests.cli.conftest import Brushup, snapshot

NAIVE = "a red castle in a forest, anime"


def found(home: Path) -> dict:
    return json.loads((home / "one/instructions.json").read_text())


def test_export_json_holds_all_that_is_needed_to_use_it(brushup: Brushup, home: Path) -> None:
    before = snapshot(home)
    done = brushup("export", "one", "--home", home, "--format", "json")
    assert done.code == 0
    assert done.err == ""
    file, summary = done.json, json.loads((home / "one/summary.json").read_text())
    assert {key: file[key] for key in found(home)} == found(home)
    assert file["validation"] == {key: summary["best_instruction"][key] for key in ("mean", "ci95", "n")}
    assert file["holdout"] == summary["holdout"]
    assert file["templates"]["generator"] == load_templates().generator
    assert file["settings"]["llm"] == "offline/agents"
    assert file["settings"]["keep"] == "content-words"
    assert file["settings"]["generator_exemplars"] == 3
    assert brushup("export", "one", "--home", home, "--json").out == done.out
    assert snapshot(home) == before


def test_export_text_is_the_best_instruction(brushup: Brushup, home: Path) -> None:
    best = next(arm["text"] for arm in found(home)["instructions"] if arm["id"] == found(home)["best"])
    done = brushup("export", "one", "--home", home, "--format", "text")
    assert (done.code, done.out, done.err) == (0, best + "\n", "")
    assert brushup("export", "one", "--home", home, "--format", "text", "--json").json["text"] == best


def test_export_writes_a_file_and_replaces_it(brushup: Brushup, home: Path) -> None:
    target = home.parent / "best.txt"
    target.write_text("the old one")
    done = brushup("export", "one", "--home", home, "--format", "text", "-o", target, "--json")
    assert done.code == 0
    assert done.json["file"] == str(target)
    assert target.read_text() == brushup("export", "one", "--home", home, "--format", "text").out


@pytest.mark.parametrize("command", [["export", "one"], ["refine", "a cat", "--run", "one"]], ids=" ".join)
def test_an_unfinished_run_has_nothing_to_use(brushup: Brushup, home: Path, command: list[str]) -> None:
    (home / "one/instructions.json").unlink()
    brushup(*command, "--home", home).refused("has no result yet", "brushup resume one")


def test_changed_templates_are_refused(brushup: Brushup, home: Path) -> None:
    store = RunStore.writer(home / "one/run.db")
    store.set_fact("identity/templates", "0123")
    store.close()
    for command in (["export", "one"], ["refine", NAIVE, "--run", "one"]):
        brushup(*command, "--home", home).refused("role templates", "was 0123", "restore them")


def test_refine_prints_one_line_a_prompt_and_leaves_the_run_alone(brushup: Brushup, home: Path) -> None:
    before = snapshot(home)
    prompts = [NAIVE, "a blue boat on a beach, photo"]
    done = brushup("refine", *prompts, "--run", "one", "--home", home)
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) == 2
    for naive, line in zip(prompts, lines, strict=True):
        assert line.startswith(naive)
        assert line != naive
    as_json = brushup("refine", *prompts, "--run", "one", "--home", home, "--json").json
    best = found(home)["best"]
    assert [(item["naive"], item["refined"], item["instruction"]) for item in as_json] == [
        (naive, line, best) for naive, line in zip(prompts, lines, strict=True)
    ]
    assert snapshot(home) == before


def test_refine_does_what_the_run_did(brushup: Brushup, home: Path) -> None:
    """The run's own test prompts come out as they did in the run: same agents, templates, exemplars and seed."""
    best = found(home)["best"]
    store = RunStore.reader(home / "one/run.db")
    rows = store.rows(
        "SELECT prompt.text AS naive, refinement.text AS refined FROM refinement JOIN prompt ON prompt.id = prompt_id"
        " WHERE arm = ? AND split = 'test' AND error = '' ORDER BY prompt.id",
        [best],
    )
    store.close()
    assert len(rows) == 20
    done = brushup("refine", *[row["naive"] for row in rows], "--run", "one", "--home", home)
    assert done.out.splitlines() == [row["refined"] for row in rows]


def test_refine_with_another_instruction(brushup: Brushup, home: Path) -> None:
    done = brushup("refine", NAIVE, "--run", "one", "--instruction", "r0c0", "--home", home, "--json")
    assert done.json[0]["instruction"] == "r0c0"
    store = RunStore.reader(home / "one/run.db")
    assert store.instructions()[0].text == INITIAL_INSTRUCTION
    store.close()


def test_a_failed_refinement_is_never_passed_on(brushup: Brushup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = OfflineChatModel.complete

    async def forgetful(self: OfflineChatModel, request: ChatRequest) -> Completion:
        if "castle" in request.messages[0].content.split("<prompt>")[1]:
            return Completion('{"prompt": "something else"}')
        return await original(self, request)

    monkeypatch.setattr(OfflineChatModel, "complete", forgetful)
    arguments = ["refine", NAIVE, "a blue boat on a beach, photo", "--run", "one", "--home", home]
    done = brushup(*arguments)
    assert done.code == 2
    assert len(done.out.splitlines()) == 1
    assert done.out.startswith("a blue boat")
    assert "lost-subject" in done.err
    assert done.err.count("\n") == 1
    as_json = brushup(*arguments, "--json")
    assert as_json.code == 2
    assert as_json.json[0]["refined"] is None
    assert "lost-subject" in as_json.json[0]["error"]
    assert as_json.json[1]["refined"].startswith("a blue boat")


def test_a_changed_corpus_is_said(brushup: Brushup, home: Path) -> None:
    more = home.parent / "more.txt"
    more.write_text("a green cat, velvet light\n")
    assert brushup("prompts", "import", more, "--name", "stub", "--home", home).code == 0
    for command in (["refine", NAIVE, "--run", "one"], ["export", "one", "--format", "messages"]):
        done = brushup(*command, "--home", home)
        assert done.code == 0
        assert "'stub' has changed" in done.err


def test_import_counts_duplicates_and_bad_rows(brushup: Brushup, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(f'id,Prompt\n1,"a cat, oil"\n2,a dog\n3,a dog\n4,\n5,{"x" * 100_000}\n')
    done = brushup("prompts", "import", file, "--home", tmp_path / "runs", "--json")
    assert done.code == 0
    report = done.json
    assert (report["corpus"], report["rows"], report["added"], report["duplicates"]) == ("mine", 5, 2, 1)
    assert [bad["row"] for bad in report["bad"]] == [5, 6]
    text = brushup("prompts", "import", file, "--home", tmp_path / "runs")
    assert text.out == ""
    assert "corpus mine: 0 prompts added of 5 rows, 3 duplicates, 2 bad" in text.err
    assert "row 6: 100000 characters" in text.err
    stats = brushup("prompts", "stats", "--home", tmp_path / "runs", "--json").json
    assert [(corpus["name"], corpus["rows"]) for corpus in stats] == [("mine", 2)]
    assert "mine" in brushup("prompts", "stats", "--home", tmp_path / "runs").err


def test_import_of_a_named_column(brushup: Brushup, tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv"
    file.write_text("a\tb\nx\ta cat\n")
    done = brushup("prompts", "import", file, "--column", "b", "--name", "own", "--home", tmp_path, "--json")
    assert done.json["added"] == 1
    assert brushup("prompts", "search", "cats", "--home", tmp_path, "--json").json == [
        {"corpus": "own", "text": "a cat"}
    ]


def test_search(brushup: Brushup, home: Path) -> None:
    done = brushup("prompts", "search", "castle", "--limit", 3, "--home", home, "--json")
    assert done.code == 0
    assert len(done.json) == 3
    assert all("castle" in hit["text"] for hit in done.json)
    text = brushup("prompts", "search", "castle", "--limit", 1, "--home", home)
    assert text.err.startswith("stub: ")
    assert text.out == ""
    assert "no prompt has all words" in brushup("prompts", "search", "zeppelin", "--home", home).err


def test_no_library_yet(brushup: Brushup, tmp_path: Path) -> None:
    assert brushup("prompts", "stats", "--home", tmp_path / "runs", "--json").json == []
    assert "brushup prompts import" in brushup("prompts", "stats", "--home", tmp_path / "runs").err
    brushup("prompts", "search", "cat", "--home", tmp_path / "runs").refused("prompts.db")
    assert not (tmp_path / "runs").exists()

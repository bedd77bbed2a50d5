"""What a user can get wrong: exit 2, one line, no traceback, nothing left behind and nothing lost."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rendering
from tests.cli.conftest import Brushup, snapshot, write_toml
from tests.fakes import FakeRenderer

PLANTED = "sk-planted0123456789abcdef"


def toml(text: str) -> Callable[[Path], list[object]]:
    """Return what writes a configuration and names it."""

    def make(tmp: Path) -> list[object]:
        (tmp / "bad.toml").write_text(text, encoding="utf-8")
        return [tmp / "bad.toml"]

    return make


def prompts(content: bytes, name: str = "bad.txt") -> Callable[[Path], list[object]]:
    """Return what writes a file of prompts and names it."""

    def make(tmp: Path) -> list[object]:
        (tmp / name).write_bytes(content)
        return ["--prompts", tmp / name]

    return make


def flags(*arguments: object) -> Callable[[Path], list[object]]:
    return lambda tmp: list(arguments)


def instructions(text: str, name: str = "own.txt") -> Callable[[Path], list[object]]:
    def make(tmp: Path) -> list[object]:
        (tmp / name).write_text(text, encoding="utf-8")
        return ["--instructions", tmp / name]

    return make


GOOD_LINES = "\n".join(f"a red cat number {k}" for k in range(60))

OPTIMIZE: dict[str, tuple[Callable[[Path], list[object]], tuple[str, ...]]] = {
    "unknown section": (toml("[runs]\nrounds = 1\n"), ("unknown key 'runs'", "docs/configuration.md")),
    "unknown key": (toml("[run]\nround = 1\n"), ("unknown key 'run.round'", "docs/configuration.md")),
    "a text for a number": (toml('[run]\nrounds = "many"\n'), ("run.rounds (--rounds)", "'many'", "expected")),
    "a number for a text": (toml("[agents]\nllm = 3\n"), ("agents.llm (--llm)", "is 3", "expected")),
    "a fraction for a count": (toml("[run]\nbatch_size = 1.5\n"), ("run.batch_size (--batch-size)", "1.5")),
    "a number for a section": (toml("run = 3\n"), ("run is 3", "expected")),
    "nan for a number": (toml("[bandit]\nc = nan\n"), ("bandit.c",)),
    "broken TOML": (toml("[run\nrounds = 1"), ("not valid TOML", "line 1")),
    "a binary config": (
        lambda tmp: [(tmp / "bad.toml").write_bytes(b"\xff\xfe\0")] and [tmp / "bad.toml"],
        ("cannot read", "UTF-8"),
    ),
    "a missing config": (flags("no.toml"), ("no config file at no.toml",)),
    "a folder for a config": (lambda tmp: [tmp], ("cannot read", "expected a TOML file")),
    "empty prompts": (prompts(b""), ("bad.txt is empty", "expected at least one prompt")),
    "blank prompts": (prompts(b"\n \n\t\n"), ("bad.txt",)),
    "binary prompts": (prompts(bytes(range(256))), ("binary", "expected text in UTF-8")),
    "missing prompts": (flags("--prompts", "no.txt"), ("no file at no.txt", "check the path")),
    "prompts of an unknown kind": (prompts(b"a cat", "bad.docx"), ("'.docx'", "expected one of")),
    "prompts without a known column": (prompts(b"a,b\n1,2\n", "bad.csv"), ("columns a, b", "--column")),
    "too few prompts": (prompts(b"a cat\na dog\n"), ("2 usable prompts", "expected at least 28", "add prompts")),
    "one prompt of 100,000 characters": (
        prompts(b"cat " * 25_000 + b"\n"),
        ("row 1, 99999 characters", "at most 2000"),
    ),
    "a prompt of 100,000 characters among good ones": (
        prompts(f"{GOOD_LINES}\n{'cat ' * 25_000}\n".encode()),
        ("row 61", "99999 characters", "correct or remove"),
    ),
    "zero rounds": (flags("--rounds", 0), ("run.rounds (--rounds) is 0", "greater than or equal to 1")),
    "negative rounds": (flags("--rounds", -3), ("run.rounds (--rounds) is -3",)),
    "zero batch size": (flags("--batch-size", 0), ("run.batch_size (--batch-size) is 0",)),
    "negative seed": (flags("--seed", -1), ("run.seed (--seed) is -1",)),
    "negative holdout seed": (flags("--holdout-seed", -1), ("run.holdout_seed (--holdout-seed) is -1",)),
    "zero renders": (flags("--max-renders", 0), ("budget.max_renders (--max-renders) is 0",)),
    "negative calls": (flags("--max-llm-calls", -1), ("budget.max_llm_calls (--max-llm-calls) is -1",)),
    "a word for a number": (flags("--rounds", "many"), ("--rounds", "'many'", "brushup optimize --help")),
    "a flag without its value": (flags("--rounds"), ("--rounds", "--help")),
    "an unknown flag": (flags("--roundz", "3"), ("--roundz", "--help")),
    "unknown policy": (flags("--policy", "lucky"), ("--policy", "'lucky'", "uniform, greedy", "racing")),
    "unknown reward": (flags("--reward", "cash"), ("--reward", "'cash'", "paired, score")),
    "unknown reward scale": (flags("--reward-scale", "big"), ("--reward-scale", "'big'", "'pooled-sd' or 'none'")),
    "unknown keep rule": (flags("--keep", "all"), ("--keep", "'all'", "verbatim")),
    "a run that leaves the home": (flags("--run", "../escape"), ("--run is '../escape'", "expected letters")),
    "an absolute run": (flags("--run", "/escape"), ("--run is '/escape'",)),
    "a run called dot dot": (flags("--run", ".."), ("--run is '..'",)),
    "a run without a name": (flags("--run", ""), ("--run is ''",)),
    "a run called like the cache": (flags("--run", "cache"), ("--run is 'cache'", "choose another name")),
    "a run called like the library": (flags("--run", "prompts.db"), ("--run is 'prompts.db'",)),
    "a run with a very long name": (flags("--run", "x" * 100_000), ("--run is 'xxx", "at most 64")),
    "an existing run": (flags("--run", "one"), ("run 'one' exists", "choose another --run", "brushup resume one")),
    "from an unknown run": (flags("--from", "nobody"), ("no run 'nobody'", "runs there are: one")),
    "missing instructions": (flags("--instructions", "no.txt"), ("cannot read no.txt", "--instructions")),
    "empty instructions": (instructions(" \n\n"), ("holds no instruction", "--instructions")),
    "an instruction too long": (instructions("x" * 4001), ("4001 characters", "at most 4000")),
    "instructions of another JSON": (instructions('{"a": 1}', "own.json"), ("brushup export",)),
    "instructions of broken JSON": (instructions("{", "own.json"), ("missing or damaged",)),
    "unknown corpus": (toml('[prompts]\ncorpus = "nobody"\n'), ("no corpus 'nobody'", "brushup prompts import")),
    "missing templates": (toml('[agents]\ntemplates = "nowhere"\n'), ("role template", "copy them")),
}


@pytest.mark.parametrize("case", OPTIMIZE)
def test_optimize_refuses(case: str, brushup: Brushup, models, home: Path, finished: Path) -> None:
    arguments, parts = OPTIMIZE[case]
    given = arguments(home.parent)
    if "--prompts" not in given:
        given += ["--prompts", finished / "prompts.txt"]
    before = snapshot(home.parent)
    brushup("optimize", *given, "--home", home, "--quiet").refused(*parts)
    assert snapshot(home.parent) == before


MODELS: dict[str, tuple[list[object], tuple[str, ...]]] = {
    "an offline model that is not there": (["--llm", "offline/gpt"], ("'offline/gpt' (--llm)", "offline/agents")),
    "a model without provider": (["--llm", "gpt"], ("'gpt' (--llm)", "PROVIDER/NAME")),
    "an unknown provider": (["--llm", "nosuch/model"], ("'nosuch'", "(--llm)", "expected")),
    "a model whose key is missing": (["--llm", "openai/gpt"], ("OPENAI_API_KEY",)),
    "an address that is none": (["--llm", "m", "--api-base", "localhost"], ("--api-base", "http://")),
    "an address with a key in it": (["--llm", "m", "--api-base", f"http://u:{PLANTED}@h/v1"], ("--api-base",)),
    "a missing model folder": (["--renderer", "/no/such/folder"], ("/no/such/folder", "--renderer")),
    "a folder without a model": (["--renderer", "EMPTY"], ("model_index.json", "--renderer")),
    "a corrupt model folder": (["--renderer", "CORRUPT"], ("model_index.json", "not JSON")),
    "an unknown scorer": (["--scorer", "beauty"], ("'beauty'", "hpsv2.1", "--scorer")),
    "a missing scorer file": (["--scorer", "hpsv2.1=/no/such.pt"], ("/no/such.pt", "scorer")),
    "a corrupt scorer folder": (["--scorer", "CORRUPT"], ("config.json",)),
}


@pytest.mark.parametrize("case", MODELS)
def test_optimize_refuses_models(
    case: str, brushup: Brushup, home: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real loaders, before any picture."""
    arguments, parts = MODELS[case]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if "--scorer" in arguments:
        monkeypatch.setattr(rendering, "load_renderer", lambda source, settings: FakeRenderer())
    for name, index in (("EMPTY", None), ("CORRUPT", b"{\xff")):
        folder = home.parent / name
        folder.mkdir()
        if index:
            (folder / "model_index.json").write_bytes(index)
            (folder / "config.json").write_bytes(index)
    given = [home.parent / value if value in ("EMPTY", "CORRUPT") else value for value in arguments]
    before = snapshot(home.parent)
    done = brushup("optimize", *given, "--prompts", finished / "prompts.txt", "--home", home, "--quiet")
    done.refused(*parts)
    assert PLANTED not in done.err
    assert snapshot(home.parent) == before


OTHERS: dict[str, tuple[list[object], tuple[str, ...]]] = {
    "resume an unknown run": (["resume", "nobody"], ("no run 'nobody'", "runs there are: one")),
    "resume outside": (["resume", "../one"], ("'../one'", "expected letters")),
    "resume with a zero cap": (["resume", "one", "--max-renders", 0], ("budget.max_renders", "is 0")),
    "show an unknown run": (["show", "nobody"], ("no run 'nobody'", "one")),
    "watch an unknown run": (["show", "nobody", "--watch"], ("no run 'nobody'",)),
    "show outside": (["show", "../one"], ("'../one'",)),
    "export an unknown run": (["export", "nobody"], ("no run 'nobody'",)),
    "export as something else": (["export", "one", "--format", "xml"], ("--format is 'xml'", "one of: json, messages")),
    "export to a folder": (["export", "one", "-o", "."], ("a folder", "expected a file")),
    "export into nowhere": (["export", "one", "-o", "no/such/file"], ("cannot write no/such/file", "--output")),
    "refine with an unknown run": (["refine", "a cat", "--run", "nobody"], ("no run 'nobody'",)),
    "refine nothing": (["refine", "  ", "--run", "one"], ("a prompt is empty",)),
    "refine 100,000 characters": (["refine", "x" * 100_000, "--run", "one"], ("100000 characters", "at most 2000")),
    "refine with an unknown instruction": (
        ["refine", "a cat", "--run", "one", "--instruction", "r9c9"],
        ("--instruction is 'r9c9'", "r0c0"),
    ),
    "refine with an unknown model": (["refine", "a cat", "--run", "one", "--llm", "gpt"], ("'gpt' (--llm)",)),
    "search for nothing": (["prompts", "search", "..."], ("'...'", "at least one word")),
    "search with a zero limit": (["prompts", "search", "cat", "--limit", 0], ("limit 0",)),
    "import a missing file": (["prompts", "import", "no.txt"], ("no file at no.txt",)),
    "import with an empty name": (["prompts", "import", "GOOD", "--name", " "], ("--name",)),
    "import a column of a text": (["prompts", "import", "GOOD", "--column", "a"], ("--column", "leave it out")),
    "an unknown command": (["optimise"], ("optimise", "brushup --help")),
    "an unknown sub-command": (["prompts", "drop"], ("drop", "brushup prompts --help")),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_commands_refuse(case: str, brushup: Brushup, models, home: Path, finished: Path) -> None:
    arguments, parts = OTHERS[case]
    given = [finished / "prompts.txt" if value == "GOOD" else value for value in arguments]
    flag: list[object] = [] if case.startswith("an unknown") else ["--home", home]
    before = snapshot(home)
    brushup(*given, *flag).refused(*parts)
    assert snapshot(home) == before


@pytest.mark.parametrize("place", ["runs", "runs/deeper"])
def test_a_home_that_cannot_be_written(brushup: Brushup, models, tmp_path: Path, place: str) -> None:
    config = write_toml(tmp_path)
    file = tmp_path / "file"
    file.write_text("I am not a folder")
    home = tmp_path / place.replace("runs", "file")
    brushup("optimize", config, "--home", home).refused(f"cannot write to {home}", "choose another --home")
    brushup("prompts", "import", tmp_path / "prompts.txt", "--home", home).refused(str(home), "--home")
    assert file.read_text() == "I am not a folder"


def newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["resume", "one"],
        ["show", "one"],
        ["show", "one", "--watch"],
        ["show", "one", "--json"],
        ["export", "one"],
        ["refine", "a cat", "--run", "one"],
    ],
    ids=" ".join,
)
def test_a_run_of_a_newer_schema(brushup: Brushup, models, home: Path, arguments: list[str]) -> None:
    newer(home / "one" / "run.db")
    before = snapshot(home)
    brushup(*arguments, "--home", home).refused("has schema 99", "knows up to", "upgrade brushup")
    assert snapshot(home) == before


@pytest.mark.parametrize("name", ["prompts.db", "cache/cache.db"])
def test_a_home_of_a_newer_schema(brushup: Brushup, models, warm: Path, name: str) -> None:
    config = write_toml(warm.parent)
    newer(warm / name)
    before = snapshot(warm)
    brushup("optimize", config, "--home", warm, "--quiet").refused("has schema 99", "upgrade brushup")
    assert snapshot(warm) == before


@pytest.mark.parametrize("arguments", [["show", "one"], ["resume", "one"]], ids=" ".join)
def test_a_damaged_run(brushup: Brushup, models, home: Path, arguments: list[str]) -> None:
    (home / "one" / "run.db").write_bytes(b"not a database" * 100)
    before = snapshot(home)
    brushup(*arguments, "--home", home).refused("run.db")
    assert snapshot(home) == before


def test_one_run_that_cannot_be_read_does_not_hide_the_others(brushup: Brushup, home: Path) -> None:
    (home / "two").mkdir()
    (home / "two" / "config.json").write_text("{}")
    (home / "two" / "run.db").write_bytes(b"not a database" * 100)
    done = brushup("runs", "--home", home, "--json")
    assert done.code == 0
    assert {line["name"]: line["status"] for line in done.json} == {"one": "completed", "two": "unreadable"}
    assert "run two: cannot read" in brushup("runs", "--home", home).err


def test_nan_scores_end_the_run_and_are_never_scores(brushup: Brushup, models, home: Path) -> None:
    models.scorer.nan = True
    models.scorer.name = "another-scorer"  # nothing of it is in the cache
    started = time.monotonic()
    done = brushup("optimize", write_toml(home.parent), "--run", "two", "--home", home, "--quiet")
    done.refused("no finite score", "the score is not finite", "--scorer")
    assert time.monotonic() - started < 20
    with sqlite3.connect(home / "two" / "run.db") as database:
        assert database.execute("SELECT count(*) FROM score WHERE value IS NOT NULL").fetchone() == (0,)
    database.close()

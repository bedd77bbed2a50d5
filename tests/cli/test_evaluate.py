"""`brushup evaluate` from the command line; what it computes is tested in tests/experiments/test_suites.py."""

import json
from pathlib import Path

import pytest

from refiner.folder import Manifest, writing
from tests.cli.conftest import Brushup
from tests.experiments.test_suites import home, world

__all__ = ["home", "world"]
pytestmark = pytest.mark.slow
FEW = ("--per-group", 2, "--seeds", 2)


@pytest.fixture(autouse=True)
def _fakes(world: object) -> None:
    """Draw and score in microseconds."""


def test_a_table_for_people_and_one_for_programs(brushup: Brushup, home: Path) -> None:
    told = brushup("evaluate", "--rows", "initial,prip", *FEW, "--home", home)
    assert told.code == 0, told.err
    for part in (
        "gain over naive",
        "95 % interval",
        "initial",
        "prip",
        "relevance",
        "LLM calls",
        "prip less each other",
    ):
        assert part in told.out, part
    assert "table.json" in told.err
    found = brushup("evaluate", "--rows", "initial,prip", *FEW, "--home", home, "--json", "--quiet").json
    assert {"suite", "optimised", "prompts", "seeds", "rows", "pairs", "missing", "failed", "folder"} <= set(found)
    assert (found["suite"], found["prompts"], found["seeds"]) == ("table", 8, 2)
    row = found["rows"]["prip"]
    assert set(row["scores"][found["optimised"]]) >= {"mean", "delta", "ci95", "p", "win", "tie"}
    assert set(row) >= {"scores", "relevance", "llm_calls_per_prompt", "seconds_per_prompt", "tokens_per_prompt"}
    assert row["scores"] == json.loads((home / "evaluations/table/table.json").read_text())["rows"]["prip"]["scores"]


def test_what_is_missing_is_said_and_its_commands_can_be_had(brushup: Brushup, home: Path) -> None:
    told = brushup("evaluate", "--config", _own(home), *FEW, "--home", home)
    assert told.code == 0, told.err
    assert "missing: promptist" in told.err
    assert "brushup train promptist" in told.err
    commands = brushup("evaluate", "--missing", "--home", home).out.splitlines()
    assert "brushup train promptist --home" in " ".join(commands)
    assert not any("train prip" in command for command in commands)
    assert all(command.startswith("brushup train ") for command in commands), "without a run there is none to distil"
    assert len(set(commands)) == len(commands)
    parts = ["stages=" in command for command in commands]
    assert parts == sorted(parts)
    assert any(parts)


def _own(home: Path) -> Path:
    file = home / "own.toml"
    file.write_text(
        '[rows.prip]\nrefiner = "prip"\n[rows.promptist]\nrefiner = "promptist"\ntrain = "brushup train promptist"'
    )
    return file


def test_the_parts_of_the_ablation(brushup: Brushup, home: Path) -> None:
    file = home / "own.toml"
    file.write_text("""
parts = ["detail", "unseen", "judges", "constraints"]
[rows.prip]
refiner = "prip"
[rows.professional]
corpus = true
[settings]
detail = { refiners = ["prip"], per_group = 1, phrases = ["oil", "ink", "8k", "a", "b", "c"] }
unseen = { subjects = ["tree", "fish"], families = ["anime"], pairs = [["prip", "naive"]] }
judges = { row = "professional", refiner = "" }
constraints = { refiner = "prip", per_group = 1 }
""")
    told = brushup("evaluate", "--suite", "ablation", "--config", file, *FEW, "--home", home)
    assert told.code == 0, told.err
    for part in ("detail: prip", "naive + 6", "prip against naive", "unseen family", "annotator: texts"):
        assert part in told.out, part
    assert "part constraints is left out" in told.err


def test_the_benchmark(brushup: Brushup, home: Path) -> None:
    for style in ("anime", "concept-art", "paintings", "photo"):
        (home / f"{style}.json").write_text(json.dumps([f"{style} a", f"{style} b"]))
    flags = ("--suite", "hpsv2", "--prompts", home, "--rows", "prip", "--renderer", "one", "--renderer", "two")
    told = brushup("evaluate", *flags, "--seeds", 2, "--home", home)
    assert told.code == 0, told.err
    assert "two: mean" in told.out
    assert "average" in told.out


@pytest.mark.parametrize(("asked", "cells"), [("{} a", ["0.", "0.", "0.", "-", "-"]), ("photo {}", ["-"] * 5)])
def test_a_benchmark_that_a_row_answers_in_part_or_not_at_all(
    brushup: Brushup, home: Path, asked: str, cells: list[str]
) -> None:
    for style in ("anime", "concept-art", "paintings", "photo"):
        (home / f"{style}.json").write_text(json.dumps([asked.format(style)]))
    with writing(home / "refiners/half", Manifest("failing", "half", "CC0", settings={"phrases": ["8k"]})):
        pass  # it fails where a prompt says "photo"
    (home / "own.toml").write_text('[rows.half]\nrefiner = "half"\n[rows.prip]\nrefiner = "prip"')
    flags = ("--suite", "hpsv2", "--prompts", home, "--config", home / "own.toml", "--seeds", 2, "--home", home)
    told = brushup("evaluate", *flags)
    assert told.code == 0, told.err
    styles = told.out.split("a style")[1]
    shown = [cell.strip() for line in styles.splitlines() if "│ half" in line for cell in line.split("│")[2:-1]][:5]
    assert [cell[: len(start)] for cell, start in zip(shown, cells, strict=True)] == cells


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--suite", "tables"), ("--suite", "table, ablation, transfer, hpsv2")),
        (("--rows", "nobody"), ("--rows nobody", "neither a row nor a refiner")),
        (("--rows", "promptist"), ("--rows promptist", "brushup train promptist")),
        (("--run", "none"), ("none",)),
        (("--split", "train"), ("--split", "test, validation")),
        (("--config", "no.toml"), ("no config file at no.toml",)),
        (("--prompts", "no.txt"), ("no.txt",)),
        (("--suite", "hpsv2"), ("--prompts", "anime.json")),
        (("--name", "../up"), ("--name",)),
        (("--per-group", "0"), ("per-group",)),
    ],
    ids=lambda value: " ".join(map(str, value))[:30],
)
def test_what_cannot_be_evaluated_is_one_line(
    brushup: Brushup, home: Path, flags: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    brushup("evaluate", *flags, "--home", home, "--quiet").refused(*parts)

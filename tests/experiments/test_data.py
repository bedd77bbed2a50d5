"""Splits are disjoint, reproducible, and large enough to mean something."""

from pathlib import Path

import pytest

from core.errors import BadInput
from core.text import content_words
from experiments.config import parse_config
from experiments.data import run_prompts


def config(file: Path | None, **run: int):
    raw = {"run": run, "evaluation": {"test_prompts": 40}}
    if file:
        raw["prompts"] = {"file": str(file)}  # type: ignore[assignment]
    return parse_config(raw, source="the test")


def by_split(prompts) -> dict[str, list[str]]:
    return {split: [p.text for p in prompts if p.split == split] for split in ("train", "validation", "test")}


def test_a_users_file_is_split_without_overlap(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"prompt number {k}" for k in range(120)))
    parts = by_split(run_prompts(config(file)))
    assert len(parts["test"]) == 40
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 120
    assert parts == by_split(run_prompts(config(file)))


def test_a_category_keeps_the_miniworlds_prompts_of_one_style_in_every_split() -> None:
    raw = {"evaluation": {"test_prompts": 30, "validation_prompts": 10}, "prompts": {"category": "photo"}}
    prompts = run_prompts(parse_config(raw, source="the test"))
    assert {prompt.group for prompt in prompts} == {"photo"}
    assert {split: len(part) for split, part in by_split(prompts).items() if split != "train"} == {
        "validation": 10,
        "test": 30,
    }


@pytest.mark.parametrize("file", [None, "mine.txt"])
def test_a_category_that_cannot_be_is_refused(tmp_path: Path, file: str | None) -> None:
    raw = {"prompts": {"category": "oil", **({"file": str(tmp_path / file)} if file else {})}}
    with pytest.raises(BadInput, match=r"prompts\.category is 'oil'"):
        run_prompts(parse_config(raw, source="the test"))


def test_the_holdout_seed_alone_chooses_the_test_prompts(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"prompt number {k}" for k in range(120)))
    base = by_split(run_prompts(config(file, seed=0)))
    assert by_split(run_prompts(config(file, seed=1)))["test"] == base["test"]
    assert by_split(run_prompts(config(file, holdout_seed=1)))["test"] != base["test"]


def test_a_small_file_still_leaves_twenty_held_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"prompt number {k}" for k in range(28)))
    parts = by_split(run_prompts(config(file)))
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [4, 4, 20]


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("\n".join(f"prompt number {k}" for k in range(27)))
    with pytest.raises(BadInput, match="27 usable prompts, expected at least 28"):
        run_prompts(config(file))


def test_the_miniworlds_test_scenes_are_in_no_other_split() -> None:
    prompts = run_prompts(config(None))
    parts = by_split(prompts)
    assert (len(parts["validation"]), len(parts["test"])) == (24, 40)
    groups = {split: {p.group for p in prompts if p.split == split} for split in parts}
    assert groups["test"] == groups["validation"] == groups["train"]
    assert len(groups["test"]) == 4
    fresh = by_split(run_prompts(config(None, holdout_seed=5)))
    assert fresh["test"] != parts["test"]
    assert fresh["train"] == parts["train"]
    scenes = {frozenset(content_words(text)) for text in parts["test"]}
    assert not scenes & {frozenset(content_words(text)) for text in parts["train"] + parts["validation"]}

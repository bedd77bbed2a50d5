"""The naive prompts of a run, split into train, validation and test before anything is drawn."""

import json
from collections.abc import Sequence
from pathlib import Path

import miniworld
from core.errors import BadInput
from core.records import Prompt
from core.seeding import generator
from core.text import text_id
from experiments.config import RunConfig
from miniworld.vocabulary import STYLE_WORDS
from prompt_db.importers import read_prompts

FEWEST_TRAIN = 4


def run_prompts(config: RunConfig) -> list[Prompt]:
    """Return the run's prompts: the user's file, or the miniworld's with fresh held-out scenes.

    Raises:
        BadInput: the file cannot be used, or is too small to leave at least 20 held-out prompts.
    """
    if config.prompts.file and config.prompts.category:
        raise BadInput(
            f"prompts.category is {config.prompts.category!r}, but the prompts of a file have no categories; leave it "
            "out, or give a file of that category alone"
        )
    if config.prompts.file:
        return split_file(Path(config.prompts.file), config)
    return _miniworld_prompts(config)


def split_file(path: Path, config: RunConfig) -> list[Prompt]:
    """Read and split a user's file. The test split depends on the holdout seed, the others on the run's seed too.

    Of n prompts at most a third is validated on and at most the configured number tested on (at least 20).

    Raises:
        BadInput: see `run_prompts`.
    """
    report = read_prompts(path, config.prompts.column)
    bad = [(row, reason) for row, reason in report.bad if reason != "empty"]
    if bad:
        raise BadInput(
            f"{path} has {len(bad)} bad rows, the first: row {bad[0][0]}, {bad[0][1]}; correct or remove them, "
            "so that no prompt is dropped unseen"
        )
    texts = list(report.prompts)
    wanted = config.evaluation
    test = min(wanted.test_prompts, max(20, len(texts) // 2))
    validation = min(wanted.validation_prompts, max(4, (len(texts) - test) // 3))
    if len(texts) < test + validation + FEWEST_TRAIN:
        raise BadInput(
            f"{path} has {len(texts)} usable prompts, expected at least {24 + FEWEST_TRAIN}: 20 are held out for the "
            "test and 4 for validation; add prompts"
        )
    shuffled = [texts[i] for i in generator("holdout", config.run.holdout_seed).permutation(len(texts))]
    held_out, rest = shuffled[:test], shuffled[test:]
    rest = [rest[i] for i in generator("split", config.run.seed).permutation(len(rest))]
    parts = {"train": rest[validation:], "validation": rest[:validation], "test": held_out}
    return [Prompt(text_id(text), text, split) for split, part in parts.items() for text in part]


def _miniworld_prompts(config: RunConfig) -> list[Prompt]:
    from miniworld.grammar import holdout_prompts

    wanted, seed, category = config.evaluation, config.run.seed, config.prompts.category
    families = tuple(STYLE_WORDS)
    if category not in (None, *families):
        raise BadInput(f"prompts.category is {category!r}; expected one of: {', '.join(families)}")
    chosen = (category,) if category else families
    fresh = holdout_prompts(config.run.holdout_seed, wanted.test_prompts * len(families) // len(chosen))
    parts: dict[str, Sequence[tuple[str, str]]] = {
        "train": [row for row in _shipped("train") if row[1] in chosen],
        "validation": _drawn(
            [row for row in _shipped("validation") if row[1] in chosen], wanted.validation_prompts, seed
        ),
        "test": [(p.prompt, p.family) for p in fresh if p.family in chosen],
    }
    return [Prompt(text_id(text), text, split, group) for split, part in parts.items() for text, group in part]


def _shipped(split: str) -> list[tuple[str, str]]:
    lines = (miniworld.PROMPTS / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["prompt"], row["family"]) for row in map(json.loads, lines)]


def _drawn(rows: list[tuple[str, str]], count: int, seed: int) -> list[tuple[str, str]]:
    """Draw `count` rows, the groups in turn, so that every style family is validated on."""
    order = [rows[i] for i in generator("validation", seed).permutation(len(rows))]
    by_group: dict[str, list[tuple[str, str]]] = {}
    for row in order:
        by_group.setdefault(row[1], []).append(row)
    ranked = [(place, group, row) for group, part in by_group.items() for place, row in enumerate(part)]
    return [row for _, _, row in sorted(ranked, key=lambda item: item[:2])[:count]]

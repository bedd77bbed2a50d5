"""The prompts that a suite refines: prompts that no refiner and no run has seen."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

import miniworld
from core.errors import BadInput
from core.seeding import generator
from experiments.suites.table import Case
from experiments.suites.world import fresh_prompts, style_of
from prompt_db.importers import read_prompts

SPLITS = ("test", "validation")


def miniworld_cases(per_group: int, seed: int, *, split: str = "test", seen: Collection[str] = ()) -> list[Case]:
    """Return prompts of the miniworld, the families in turn.

    `test`: fresh prompts of scenes that no corpus, log, pair or training prompt has; `validation`: the shipped
    validation prompts, for tuning.

    Args:
        per_group: of each style family; fewer where the validation prompts do not suffice.
        seed: of the draw.
        split: a name of `SPLITS`.
        seen: more prompts to leave out, a run's say.

    Raises:
        BadInput: an unknown split, or not enough prompts.
    """
    if split not in SPLITS:
        raise BadInput(f"--split is {split!r}; expected one of {', '.join(SPLITS)}")
    if split == "validation":
        return _in_turn(_shuffled(map(_case, _lines("validation")), seed), per_group)
    known = {*seen, *_known()}
    fresh = [
        Case(prompt, family) for prompt, family in fresh_prompts(seed) if not {prompt, first_phrase(prompt)} & known
    ]
    found = _in_turn(fresh, per_group)
    if len(found) < per_group * len({case.group for case in fresh}):
        raise BadInput(f"--per-group is {per_group}; there are only {len(found)} unseen prompts; ask for fewer")
    return found


def _known() -> set[str]:
    """Return everything that trainings can have seen: naive prompts, professional ones, and where these begin."""
    naive = {case.prompt for split in ("train", "validation") for case in map(_case, _lines(split))}
    corpus = miniworld.CORPUS.read_text(encoding="utf-8").splitlines()
    return naive | set(corpus) | set(map(first_phrase, corpus))


def _lines(split: str) -> list[str]:
    return (miniworld.PROMPTS / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()


def _case(line: str) -> Case:
    row = json.loads(line)
    return Case(row["prompt"], row["family"])


def _shuffled(cases: Iterable[Case], seed: int) -> list[Case]:
    found = list(cases)
    return [found[place] for place in generator("evaluation-prompts", seed).permutation(len(found))]


def _in_turn(cases: Iterable[Case], per_group: int) -> list[Case]:
    """Return the first cases of every group, the groups in turn."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    ranked = ((place, group, case) for group, part in groups.items() for place, case in enumerate(part[:per_group]))
    return [case for _, _, case in sorted(ranked, key=lambda row: row[:2])]


def first_phrase(prompt: str) -> str:
    """Return what stands before a prompt's first comma."""
    return prompt.partition(",")[0].strip()


def professional_prompts(per_group: int, seed: int) -> dict[Case, str]:
    """Return professional prompts of the corpus by their own words before the first comma, the families in turn.

    Only prompts that name subject, colour, place and style before their first comma are taken, so that the naive
    prompt asks for the same scene.
    """
    corpus = miniworld.CORPUS.read_text(encoding="utf-8").splitlines()
    by_case: dict[Case, str] = {}
    for place in generator("evaluation-corpus", seed).permutation(len(corpus)):
        naive = first_phrase(corpus[place])
        if family := style_of(naive):
            by_case.setdefault(Case(naive, family), corpus[place])
    return {case: by_case[case] for case in _in_turn(by_case, per_group)}


def file_cases(path: Path, column: str | None = None, group: str = "") -> list[Case]:
    """Return the prompts of a user's file.

    Args:
        path: txt, csv, tsv, json or jsonl.
        column: with the prompts; by default one that is recognised.
        group: group of all of them.

    Raises:
        BadInput: the file cannot be used.
    """
    return [Case(prompt, group) for prompt in read_prompts(path, column).prompts]

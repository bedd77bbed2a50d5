"""What the ablation suite measures beside its rows: one function a part."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bandit.bootstrap import bootstrap_mean
from core.errors import BadInput
from core.records import NAIVE
from core.text import content_words, phrases
from experiments.suites.bench import Bench
from experiments.suites.config import spec_of
from experiments.suites.labels import reward_models
from experiments.suites.rows import row_of
from experiments.suites.sheets import Shown
from experiments.suites.sources import place_of
from experiments.suites.table import Case, Outcome, by_group, differences, interval, mean_of
from experiments.suites.world import TRUTH, levels_of, style_of, subject_of
from refiner.answer import share_kept
from refiner.constraints import folder_categories

Settings = Mapping[str, Any]
Part = Callable[[Bench, Sequence[Case], Mapping[str, Shown], Settings], dict[str, Any]]


def constraints(bench: Bench, cases: Sequence[Case], shown: Mapping[str, Shown], settings: Settings) -> dict[str, Any]:
    """Wish for every subset of a refiner's categories: how many wishes are met, and what that does to the pictures.

    A full factorial: a category's effect is the mean over all subsets of the others of (with - without), an interaction
    of two that of (both - one - other + none), each within a prompt, with an interval over prompts.

    Settings: `refiner`; `per_group`, prompts of each family.
    """
    few = _first(cases, settings["per_group"])
    prompts = [case.prompt for case in few]
    spec = spec_of(bench.config, settings["refiner"])
    known = sorted(folder_categories(Path(_place(bench, settings["refiner"]))))
    naive, subsets, gains = shown[NAIVE].outcome, {}, {}
    bench.expected += 2 ** len(known) * len(few) * bench.config.seeds
    for wanted in _subsets(known):
        name = "+".join(wanted) or "none"
        row = row_of(name, replace(spec, want=wanted))
        answers, _, _ = bench.answers(row, prompts)
        scores = bench.scores(prompts, bench.pictures(prompts, answers, f"constraints {name}"))
        outcome = Outcome(name, NAIVE, "", few, [a["refined"] for a in answers], [a["error"] for a in answers], scores)
        gains[frozenset(wanted)] = {scorer: differences(outcome, naive, scorer) for scorer in scores}
        met = [wish["met"] for answer in answers for wish in answer["satisfaction"]]
        subsets[name] = {
            "satisfaction": mean_of([float(one) for one in met]),
            "failed": sum(answer["refined"] is None for answer in answers),
            "words": mean_of([len(text.split()) for text in outcome.refined if text]),
            "gains": {scorer: fmean(found.values()) for scorer, found in gains[frozenset(wanted)].items() if found},
        }
    scorers = [scorer.name for scorer in bench.scorers]
    return {
        "prompts": len(few),
        "categories": known,
        "subsets": subsets,
        "effects": {scorer: effects(known, {s: found[scorer] for s, found in gains.items()}) for scorer in scorers},
    }


def _subsets(names: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(names, size) for size in range(len(names) + 1))


def effects(names: Sequence[str], gains: Mapping[frozenset[str], Mapping[str, float]]) -> dict[str, Any]:
    """Return the effects of a full factorial: of each factor, and of each pair beyond what its two do alone.

    Args:
        names: factors.
        gains: by the set of factors that are on, each prompt's gain. Prompts that any set lacks are left out.
    """
    prompts = sorted(set.intersection(*(set(found) for found in gains.values())))
    found = {}
    for factors in (one for one in _subsets(names) if 0 < len(one) <= 2):
        others = [name for name in names if name not in factors]
        values = {
            prompt: [fmean(_contrast(factors, base, gains, prompt) for base in _subsets(others))] for prompt in prompts
        }
        if values:
            estimate = bootstrap_mean(values, seed=0)
            found[" x ".join(factors)] = {"effect": estimate.mean, "ci95": interval(estimate)}
    return found


def _contrast(
    factors: Sequence[str], base: Sequence[str], gains: Mapping[frozenset[str], Mapping[str, float]], prompt: str
) -> float:
    """Return the alternating sum over the factors being on or off, the others being as in `base`."""
    signs = ((on, (-1) ** (len(factors) - len(on))) for on in _subsets(factors))
    return sum(sign * gains[frozenset((*on, *base))][prompt] for on, sign in signs)


def detail(bench: Bench, cases: Sequence[Case], shown: Mapping[str, Shown], settings: Settings) -> dict[str, Any]:  # noqa: ARG001
    """Ask for one scene in more and more detail: how long and how detailed is the answer?

    Levels: subject; colour and subject; with the place; the naive prompt; with 1, 3 and 6 phrases of system language.

    Settings: `refiners`; `per_group`, scenes of each family; `phrases`, what is added.
    """
    few = _first(cases, settings["per_group"])
    by_level = [levels_of(case.prompt, settings["phrases"]) for case in few]
    found: dict[str, Any] = {}
    for refiner in settings["refiners"]:
        row = row_of(refiner, spec_of(bench.config, refiner))
        texts = {level: [scene[level] for scene in by_level] for level in by_level[0]}
        asked = [text for level in texts.values() for text in level]
        answers = iter(bench.answers(row, asked)[0])
        pairs = {level: [(text, next(answers)["refined"]) for text in told] for level, told in texts.items()}
        points = [(len(t.split()), len(r.split())) for level in pairs.values() for t, r in level if r]
        found[refiner] = {
            "levels": {level: _told(rows) for level, rows in pairs.items()},
            "added_words_per_input_word": _slope([(told, answer - told) for told, answer in points]),
        }
    return {"prompts": len(few), "refiners": found}


def _told(pairs: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """Return means: words, phrases and content words that were added, what is kept of the prompt."""
    good = [(told, answer) for told, answer in pairs if answer]
    rows = [
        {
            "input_words": len(told.split()),
            "answer_words": len(answer.split()),
            "added_words": len(answer.split()) - len(told.split()),
            "added_phrases": len(phrases(answer)) - len(phrases(told)),
            "added_content_words": len(set(content_words(answer)) - set(content_words(told))),
            "kept": share_kept(told, answer),
        }
        for told, answer in good
    ]
    means = {key: fmean(row[key] for row in rows) for key in rows[0]} if rows else {}
    return {**means, "failed": len(pairs) - len(good)}


def _slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the least-squares slope, None where the inputs are all of one length."""
    told, added = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return float(np.polyfit(told, added, 1)[0]) if len(set(told)) > 1 else None


def unseen(bench: Bench, cases: Sequence[Case], shown: Mapping[str, Shown], settings: Settings) -> dict[str, Any]:  # noqa: ARG001
    """Hold refiners that never read some subjects and families against the same ones that did, where it matters.

    The miniworld's renderer and scorers know no other subjects, and its test scenes are new combinations of known words
    already; so words are withheld from the refiner (`--block-terms`), not from the world.

    Settings: `subjects`, `families`; `pairs`, lists of [refiner that did not read them, the one that did].
    """
    groups = [_group(case.prompt, settings["subjects"], settings["families"]) for case in cases]
    found: dict[str, Any] = {}
    for blind, seeing in settings["pairs"]:
        if blind in shown and seeing in shown:
            ours, theirs = shown[blind].outcome, shown[seeing].outcome
            naive = shown[NAIVE].outcome
            kept = [
                (group, share_kept(case.prompt, text))
                for case, text, group in zip(cases, ours.refined, groups, strict=True)
                if text
            ]
            found[blind] = {
                "against_naive": by_group(ours, naive, groups, 0),
                f"against_{seeing}": by_group(ours, theirs, groups, 0),
                "kept": {name: mean_of([share for group, share in kept if group == name]) for name in set(groups)},
            }
    return {"prompts": {name: groups.count(name) for name in sorted(set(groups))}, "refiners": found}


def _group(prompt: str, subjects: Sequence[str], families: Sequence[str]) -> str:
    if subject_of(prompt) in subjects:
        return "unseen subject"
    return "unseen family" if style_of(prompt) in families else "seen"


def judges(bench: Bench, cases: Sequence[Case], shown: Mapping[str, Shown], settings: Settings) -> dict[str, Any]:  # noqa: ARG001
    """Hold what rewards refiners against the annotator; see `experiments.suites.labels.reward_models`.

    Settings: `row`, whose pictures are compared; `refiner`, one with text reward models, or "".
    """
    row = shown[settings["row"]]
    if settings["row"] not in shown:
        raise BadInput(f"row {settings['row']} is not there; evaluate it too, or name another one")
    place = _place(bench, settings["refiner"]) if settings["refiner"] else ""
    return reward_models(row.outcome, shown[row.outcome.against].outcome, place, TRUTH)


PARTS: dict[str, Part] = {"constraints": constraints, "detail": detail, "unseen": unseen, "judges": judges}
"""Parts by name; their settings are tables of the suite's file."""


def _place(bench: Bench, refiner: str) -> str:
    """Return where the refiner is that a part's settings name."""
    return place_of(bench.home, spec_of(bench.config, refiner), bench.tools.run)


class _Told(dict[str, Any]):
    """Settings of a part; one that is missing is the user's error."""

    def __missing__(self, key: str) -> Any:
        raise BadInput(f"its settings have no {key!r}; see the part's description for what it needs")


def run_parts(bench: Bench, cases: Sequence[Case], shown: Sequence[Shown]) -> dict[str, Any]:
    """Return what the suite's parts found; a part whose refiner or row is not there says so.

    Raises:
        BadInput: an unknown part.
    """
    by_name = {one.outcome.name: one for one in shown}
    found: dict[str, Any] = {}
    for name in bench.config.parts:
        if name not in PARTS:
            raise BadInput(f"parts: got {name!r}, expected some of {', '.join(PARTS)}; correct the suite's file")
        try:
            found[name] = PARTS[name](bench, cases, by_name, _Told(bench.config.settings.get(name, {})))
        except BadInput as error:
            found[name] = {"missing": str(error)}
            bench.progress.note(f"warning: part {name} is left out: {error}")
    return found


def _first(cases: Sequence[Case], per_group: int) -> list[Case]:
    """Return the first cases of each group, in their order."""
    taken: dict[str, int] = {}
    found = []
    for case in cases:
        taken[case.group] = taken.get(case.group, 0) + 1
        if taken[case.group] <= per_group:
            found.append(case)
    return found

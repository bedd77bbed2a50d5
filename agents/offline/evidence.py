"""What the results say about phrases: effects with their uncertainty, for all prompts and under words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.contrasts import Result
from agents.offline.regression import BEND_SIZE, BENDS, NOT, Fit, added_phrases, fit, make_design
from core.text import phrases, unique

_MOST_RESULTS = 800


@dataclass(frozen=True)
class Effect:
    """The worth of one phrase where the naive prompt mentions `word`; with `word` "", where it mentions none.

    A phrase of the negative prompt is named with `NOT` before it.
    """

    phrase: str
    word: str
    mean: float
    sd: float
    results: int


@dataclass(frozen=True)
class Evidence:
    """All that the results say.

    Attributes:
        effects: in general, best first; then those under each word, of the phrases for which words matter.
        fresh: what a phrase that was never tried may be worth: mean and standard deviation.
        bend: number of phrases -> change of the reward against the plain sum of the phrases' effects.
        results: how many results there were (naive ones not counted).
        subjects: phrases that naive prompts of the results contain themselves: what is wanted, not how well it is done.
        share: word -> share of the results whose naive prompt mentions it.
    """

    effects: tuple[Effect, ...]
    fresh: tuple[float, float]
    bend: dict[int, float]
    results: int
    share: dict[str, float]
    subjects: tuple[str, ...] = ()


def weigh(results: Sequence[Result]) -> Evidence | None:
    """Weigh the phrases; None when no result added any."""
    rows = [row for row in results if row.who != "naive" and added_phrases(row)][:_MOST_RESULTS]
    if not rows:
        return None
    found = fit(make_design(rows))
    design, setting = found.design, found.setting
    words = unique(word for word, _ in found.pairs)
    effects = [_effect(found, index, "") for index in range(len(design.names))]
    effects.sort(key=lambda effect: -effect.mean)
    varying = sorted({phrase for _, phrase in found.pairs})
    for word in words:
        effects += sorted((_effect(found, index, word) for index in varying), key=lambda effect: -effect.mean)
    most = int(np.max(design.bends[:, 0]))
    slopes = found.mean[1 : len(BENDS)] * setting.size * BEND_SIZE * design.unit
    after = np.array(BENDS[1:], dtype=np.float64)
    bend = {number: float(slopes @ (number - after).clip(min=0.0)) for number in range(1, most + 2)}
    fresh = (design.unit * setting.size * BEND_SIZE * float(found.mean[0]), design.unit * setting.size)
    share = {word: float(design.mentioned[:, design.words.index(word)].mean()) for word in words}
    said = {phrase.lower() for row in results for phrase in phrases(row.naive)}
    subjects = tuple(name for name in design.names if name in said)
    return Evidence(tuple(effects), fresh, bend, len(rows), share, subjects)


def _effect(found: Fit, phrase: int, word: str) -> Effect:
    design, size = found.design, found.setting.size
    mix = np.zeros(len(found.mean))
    mix[0] = 0.0 if design.names[phrase].startswith(NOT) else size * BEND_SIZE
    mix[len(BENDS) + phrase] = size
    where = np.ones(len(design.rewards))
    if word:
        where = design.mentioned[:, design.words.index(word)]
        if (word, phrase) in found.pairs:
            mix[len(BENDS) + len(design.names) + found.pairs.index((word, phrase))] = size
    mean = design.unit * float(mix @ found.mean)
    sd = design.unit * max(float(mix @ found.cov @ mix), 0.0) ** 0.5
    return Effect(design.names[phrase], word, mean, sd, int(design.has[:, phrase] @ where))

"""Where each scorer is fooled: sets of terms that raise its number and lower the truth.

The sets are searched on validation prompts and measured again on held-out ones with fresh seeds, so that a set that
was merely lucky shows no gain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from miniworld.grammar import NaivePrompt, draw_prompts
from miniworld.train.bootstrap import bootstrap
from miniworld.train.conditions import Terms
from miniworld.train.measure import Measured, Scorer, Values, make_images, measure_images
from miniworld.train.stages import Workspace
from miniworld.vocabulary import FILLERS, TERMS

_SEARCHED_SETS = 90
_SEARCH_PROMPTS = 16
_HELD_OUT_PROMPTS = 48
_FIRST_SEED = 500


@dataclass(frozen=True)
class Gains:
    """Mean gains over the naive prompt in deviations of the naive pictures, per prompt.

    Attributes:
        truth: Shape (prompts,).
        scores: By scorer, shape (prompts,).
    """

    truth: Values
    scores: dict[str, Values]


def candidate_sets(rng: np.random.Generator, count: int) -> list[Terms]:
    """Single terms first, then random sets of two and three."""
    words = (*TERMS, *FILLERS)
    sets: list[Terms] = [(word,) for word in words]
    while len(sets) < count:
        picked = rng.choice(len(words), size=int(rng.integers(2, 4)), replace=False)
        sets.append(tuple(words[index] for index in picked))
    return sets[:count]


def gains(naive: Measured, changed: Measured) -> Gains:
    """Gains of one condition over the naive one, with the same seeds."""

    def standardised(before: Values, after: Values) -> Values:
        return (after - before).mean(axis=1) / before.std()  # type: ignore[no-any-return]

    scores = {name: standardised(naive.scores[name], values) for name, values in changed.scores.items()}
    return Gains(standardised(naive.truth, changed.truth), scores)


def search(prompts: list[NaivePrompt], sets: list[Terms], pipeline: Any, scorers: dict[str, Scorer]) -> dict[str, int]:
    """For each scorer the set that it most overrates: the largest gap of its gain and the truth's, if the truth falls.

    Returns:
        The set's index, by scorer; a scorer that no set fools is left out.
    """
    naive = _measure(prompts, (), pipeline, scorers, seeds=1)
    found = [gains(naive, _measure(prompts, terms, pipeline, scorers, seeds=1)) for terms in sets]
    truth = np.array([each.truth.mean() for each in found])
    worst = {}
    for name in scorers:
        score = np.array([each.scores[name].mean() for each in found])
        gap = np.where((score > 0) & (truth < 0), score - truth, -np.inf)
        if np.isfinite(gap.max()):
            worst[name] = int(gap.argmax())
    return worst


def _measure(
    prompts: list[NaivePrompt], terms: Terms, pipeline: Any, scorers: dict[str, Scorer], *, seeds: int, first: int = 0
) -> Measured:
    images = make_images(prompts, [terms] * len(prompts), pipeline, seeds=seeds, first_seed=first)
    return measure_images(images, prompts, scorers)


def fooling_table(
    space: Workspace, held_out: list[NaivePrompt], pipeline: Any, scorers: dict[str, Scorer]
) -> list[dict[str, Any]]:
    """One row per scorer: the set it most overrates, and what that set does to the truth and to every scorer."""
    rng = np.random.default_rng(space.seed("fooling"))
    tuning = draw_prompts("validation", space.seed("fooling"), space.amount(_SEARCH_PROMPTS, least=4))
    sets = candidate_sets(rng, space.amount(_SEARCHED_SETS, least=8))
    prompts = held_out[: space.amount(_HELD_OUT_PROMPTS, least=4)]
    naive = _measure(prompts, (), pipeline, scorers, seeds=2, first=_FIRST_SEED)
    rows = []
    for name, index in search(tuning, sets, pipeline, scorers).items():
        found = gains(naive, _measure(prompts, sets[index], pipeline, scorers, seeds=2, first=_FIRST_SEED))
        rows.append(
            {
                "scorer": name,
                "terms": list(sets[index]),
                "truth": bootstrap(found.truth).plain(),
                "scores": {other: bootstrap(values).plain() for other, values in found.scores.items()},
            }
        )
    return rows

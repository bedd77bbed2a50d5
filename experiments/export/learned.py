"""The learned phrases: what an instruction made the Generator add to naive prompts, from a run's own pictures.

A phrase is a part of a prompt between commas. Nothing here knows more than the run does: neither the instruction's
wording nor, on the miniworld, its truth.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from core.records import NAIVE, Estimate
from core.text import phrases
from experiments.evidence import Evidence
from experiments.paired import estimate

RARE = 0.05
"""Phrases added to a smaller share of the prompts, or to one prompt alone, are no habit of an instruction."""
STYLE = 0.5
"""A style is for every prompt: it takes phrases that were added to at least this share of the prompts. Fewer may be for
one kind of prompt alone, or chance."""


@dataclass(frozen=True)
class Phrase:
    """A learned phrase.

    Attributes:
        text: as it was spelled most often.
        share: of the instruction's refined prompts, how many have it.
        effect: score of pictures with it minus that of pictures without it on the same block, over all instructions
            (naive prompts left out), mean over prompts; None when no block has both. Their other phrases differ too: it
            says what went along with the phrase, not what the phrase does alone.
    """

    text: str
    share: float
    effect: Estimate | None

    @property
    def harmful(self) -> bool:
        """Whether pictures with it scored clearly lower."""
        return self.effect is not None and self.effect.ci95[1] < 0

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        effect = dict(self.effect.to_json()) if self.effect else None
        return {"phrase": self.text, "share": round(self.share, 4), "effect": effect}


@dataclass(frozen=True)
class Learned:
    """What an instruction adds.

    Attributes:
        prompts: how many refined prompts this is drawn from.
        phrases: the most frequent first.
        typical: how many phrases it adds to a prompt (median).
        negatives: phrases of its negative prompts, likewise.
        typical_negatives: how many of them a negative prompt has (median).
    """

    prompts: int
    phrases: tuple[Phrase, ...]
    typical: int
    negatives: tuple[Phrase, ...] = ()
    typical_negatives: int = 0

    @property
    def style(self) -> list[str]:
        """What it adds to most prompts: the most frequent phrases, as many as a prompt has, none of them harmful."""
        return _style(self.phrases, self.typical)

    @property
    def negative_style(self) -> list[str]:
        """The same for its negative prompt."""
        return _style(self.negatives, self.typical_negatives)


def _style(found: tuple[Phrase, ...], typical: int) -> list[str]:
    return [phrase.text for phrase in found if phrase.share >= STYLE and not phrase.harmful][:typical]


Added = Mapping[str, str]
"""Phrases that one prompt has, by their lower-cased text."""


def learn(evidence: Evidence, arm: str) -> Learned:
    """Return what an instruction added to the naive prompts of its run."""
    drawn = {pair: row for pair, row in evidence.drawn.items() if pair[0] != NAIVE and not row["error"]}
    naive = {pair: evidence.prompts[evidence.blocks[pair[1]].prompt_id].text for pair in drawn}
    positive = {pair: _added(naive[pair], row["prompt"]) for pair, row in drawn.items()}
    negative = {pair: _added("", row["negative"]) for pair, row in drawn.items()}
    mine = {(naive[pair], row["prompt"]): pair for pair, row in drawn.items() if pair[0] == arm}
    phrases_, typical = _habits(evidence, positive, list(mine.values()))
    negatives, typical_negatives = _habits(evidence, negative, list(mine.values()))
    return Learned(len(mine), phrases_, typical, negatives, typical_negatives)


def _added(naive: str, refined: str) -> Added:
    own = {phrase.lower() for phrase in phrases(naive)}
    return {phrase.lower(): phrase for phrase in phrases(refined) if phrase.lower() not in own}


def _habits(
    evidence: Evidence, added: Mapping[tuple[str, str], Added], mine: list[tuple[str, str]]
) -> tuple[tuple[Phrase, ...], int]:
    """Return the phrases that are more than rare, and how many there are in the median."""
    if not mine:
        return (), 0
    spelled = Counter(item for pair in mine for item in added[pair].items())
    counts = Counter(key for pair in mine for key in added[pair])
    often = sorted((-count, key) for key, count in counts.items() if count > 1 and count >= RARE * len(mine))
    found = tuple(
        Phrase(
            max((n, text) for (other, text), n in spelled.items() if other == key)[1],
            -negated / len(mine),
            _effect(evidence, _contrasts(evidence, added, key)),
        )
        for negated, key in often
    )
    return found, round(median(len(added[pair]) for pair in mine))


def _effect(evidence: Evidence, values: Mapping[str, float]) -> Estimate | None:
    """Return the mean over prompts of all splits."""
    return estimate(values, {block: evidence.blocks[block].prompt_id for block in values}, evidence.seeds["test"])


def _contrasts(evidence: Evidence, added: Mapping[tuple[str, str], Added], key: str) -> dict[str, float]:
    """Return, by block, the mean score with a phrase minus the mean score without it, where there are both."""
    values: dict[str, tuple[list[float], list[float]]] = {}
    for (arm, block), keys in added.items():
        value = evidence.scores.get(arm, {}).get(block)
        if value is not None:
            values.setdefault(block, ([], []))[key not in keys].append(value)
    return {block: mean(have) - mean(lack) for block, (have, lack) in values.items() if have and lack}

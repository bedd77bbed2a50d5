"""What the miniworld alone can say of a suite's prompts and pictures: fresh scenes, judge and truth as scorers.

For evaluation only; nothing here may reach a refiner, a reward or a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.records import Score, ScoreItem
from miniworld.grammar import holdout_prompts, naive_prompts, parse
from miniworld.judge import ASPECTS, load_judge, to_tensor
from miniworld.truth import preference_probability, truth_scores
from miniworld.vocabulary import PLACE_PHRASES

JUDGE, TRUTH = "judge", "truth"
_UNASKED = "the prompt names no subject, colour, place or style of the miniworld"


def fresh_prompts(seed: int) -> list[tuple[str, str]]:
    """Return (prompt, family) of all of the grammar's test scenes, in an order that is a function of the seed."""
    return [(item.prompt, item.family) for item in holdout_prompts(seed, len(naive_prompts("test")))]


def style_of(prompt: str) -> str:
    """Return the style family of a prompt that names a whole scene, else ""."""
    scene = parse(prompt)
    return scene.family if scene else ""


def subject_of(prompt: str) -> str:
    """Return the subject of a prompt that names a whole scene, else ""."""
    scene = parse(prompt)
    return scene.subject if scene else ""


def levels_of(prompt: str, phrases: Sequence[str]) -> dict[str, str]:
    """Return a naive prompt's scene in more and more detail, by the name of the level.

    Args:
        prompt: names a whole scene.
        phrases: six phrases that are added at the last levels.

    Raises:
        ValueError: the prompt names no whole scene.
    """
    scene = parse(prompt)
    if scene is None:
        raise ValueError(f"got {prompt!r}, expected a whole scene of the miniworld")
    plain = f"{scene.colour} {scene.subject}"
    return {
        "subject": scene.subject,
        "colour": plain,
        "place": f"{plain} {PLACE_PHRASES[scene.place][0]}",
        "naive": prompt,
        **{f"naive + {count}": ", ".join((prompt, *phrases[:count])) for count in (1, 3, 6)},
    }


def chance_of(first: float, second: float) -> float:
    """Return how likely the annotator prefers the first of two pictures, by their truths."""
    return preference_probability(first, second)


@dataclass(frozen=True)
class JudgeScorer:
    """The share of subject, colour, place and style that the miniworld's judge finds right in a picture."""

    name: str = JUDGE
    revision: str = "1"
    chunk: int = 128

    @torch.inference_mode()
    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """See `core.interfaces.Scorer`."""
        said = [logits.argmax(dim=1).tolist() for logits in load_judge()(to_tensor([item.image for item in items]))]
        found = []
        for place, item in enumerate(items):
            scene = parse(item.prompt)
            if scene is None:
                found.append(Score(None, _UNASKED))
                continue
            right = [
                words[column[place]] == getattr(scene, aspect)
                for (aspect, words), column in zip(ASPECTS.items(), said, strict=True)
            ]
            found.append(Score(float(np.mean(right))))
        return found


@dataclass(frozen=True)
class TruthScorer:
    """The miniworld's annotator, without noise (`miniworld.truth`)."""

    name: str = TRUTH
    revision: str = "1"
    chunk: int = 128

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """See `core.interfaces.Scorer`."""
        known = [item for item in items if parse(item.prompt)]
        values = iter(truth_scores([item.image for item in known], [item.prompt for item in known]))
        return [Score(next(values)) if parse(item.prompt) else Score(None, _UNASKED) for item in items]


WORLD_SCORERS = (JudgeScorer(), TruthScorer())

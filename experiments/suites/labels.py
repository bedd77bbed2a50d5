"""Reward models against held-out labels: how often do they prefer what the miniworld's annotator prefers?"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bandit.bootstrap import bootstrap_mean
from experiments.suites.table import Outcome, interval, mean_of
from experiments.suites.world import chance_of


class Pair(NamedTuple):
    """Two pictures of one prompt: what the annotator and a scorer gave each."""

    truth: tuple[float, float]
    score: tuple[float, float]


def reward_models(row: Outcome, naive: Outcome, refiner: str, truth: str) -> dict[str, Any]:
    """Return how well scorers and text reward models agree with the annotator: held out if the row's prompts are.

    `pictures`: all pairs of pictures of one prompt, of the naive and the refined text. `texts`: naive against refined
    text, by the mean over their pictures; only here can text reward models say anything. `accuracy`: share of pairs in
    the annotator's order, ties half; `agreement`: the same against an annotator as noisy as in the training labels;
    `ceiling`: what the truth itself would reach there.

    Args:
        row: refined prompts.
        naive: their naive ones.
        refiner: folder of a refiner with text reward models; "" = none.
        truth: the annotator's name among the scorers.
    """
    labels = row.scores[truth], naive.scores[truth]
    scorers = [name for name in row.scores if name not in ("judge", truth)]
    pictures = {name: _agreement(row, _pictures(labels, (row.scores[name], naive.scores[name]))) for name in scorers}
    texts = {
        name: _agreement(row, _texts(labels, _means(row.scores[name]), _means(naive.scores[name]))) for name in scorers
    }
    for name, read in _readers(refiner).items():
        prompts = [case.prompt for case in row.cases]
        refined = [text or prompt for text, prompt in zip(row.refined, prompts, strict=True)]
        texts[f"text:{name}"] = _agreement(row, _texts(labels, read(prompts, refined), read(prompts, prompts)))
    return {"row": row.name, "pictures": pictures, "texts": texts}


Scores = Sequence[Sequence[float | None]]
Both = tuple[Scores, Scores]
"""Of refined and of naive prompts."""


def _means(scores: Scores) -> list[float | None]:
    return [mean_of(row) for row in scores]


def _pictures(labels: Both, scores: Both) -> list[list[Pair]]:
    """Return by prompt all pairs of its pictures."""
    found = []
    for place in range(len(labels[0])):
        seen = [
            (truth, score)
            for side in (0, 1)
            for truth, score in zip(labels[side][place], scores[side][place], strict=True)
            if truth is not None and score is not None
        ]
        found.append([Pair((a[0], b[0]), (a[1], b[1])) for a, b in itertools.combinations(seen, 2)])
    return found


def _texts(labels: Both, refined: Sequence[float | None], naive: Sequence[float | None]) -> list[list[Pair]]:
    """Return by prompt the pair of its refined and its naive text."""
    rows = zip(_means(labels[0]), _means(labels[1]), refined, naive, strict=True)
    return [[Pair((a, b), (c, d))] if None not in (a, b, c, d) else [] for a, b, c, d in rows]  # type: ignore[arg-type]


def _agreement(row: Outcome, pairs: Sequence[Sequence[Pair]]) -> dict[str, Any]:
    by_prompt = {case.prompt: found for case, found in zip(row.cases, pairs, strict=True) if found}
    right = {prompt: [_right(pair) for pair in found] for prompt, found in by_prompt.items()}
    if not right:
        return {"pairs": 0}
    estimate = bootstrap_mean(right, seed=0)
    every = list(itertools.chain.from_iterable(by_prompt.values()))
    chances = [(chance_of(*pair.truth), _right(pair)) for pair in every]
    likelier = [(max(chance, 1 - chance), right) for chance, right in chances]
    return {
        "pairs": len(every),
        "accuracy": estimate.mean,
        "ci95": interval(estimate),
        "agreement": fmean(right * chance + (1 - right) * (1 - chance) for chance, right in likelier),
        "ceiling": fmean(chance for chance, _ in likelier),
    }


def _right(pair: Pair) -> float:
    """Return 1 where score and truth have the same order, 0 where the opposite one, 1/2 at a tie."""
    product = (pair.truth[0] - pair.truth[1]) * (pair.score[0] - pair.score[1])
    return 0.5 if product == 0 else float(product > 0)


Reader = Callable[[Sequence[str], Sequence[str]], list[float]]


def _readers(refiner: str) -> Mapping[str, Reader]:
    """Return a refiner's text reward models by name."""
    if not refiner:
        return {}
    from refiner.text_reward import load_text_rewards

    return {name: model.scores for name, model in load_text_rewards(Path(refiner)).items()}

"""What the results say about phrases: a Bayesian regression of paired rewards on the phrases that were added. Pure.

reward = sum over added phrases of (common + own[phrase] + own[phrase, word] if the naive prompt mentions word)
         + bend(number of phrases) + what the results of one block share + noise

All weights have zero-mean normal priors, so an effect with little evidence is shrunk towards the average phrase. The
sizes of the priors and of the noise maximise the marginal likelihood, and so does the choice of the words that matter.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from agents.contrasts import Result
from core.text import content_words, phrases

Array = NDArray[np.float64]

BENDS = (0, 3, 4, 5, 6, 7, 8, 10)
"""Numbers of phrases after which one more phrase may change its worth; the first is the worth of any phrase at all."""
_AFTER = np.array(BENDS[1:], dtype=np.float64)
_FEWEST_RESULTS = 6
_MOST_WORDS = 6
_MIN_GAIN = 3.0
_MOST_RESULTS = 800


@dataclass(frozen=True)
class Effect:
    """The worth of one phrase; `word` is "" for the average over the prompts seen."""

    phrase: str
    word: str
    mean: float
    sd: float
    results: int


@dataclass(frozen=True)
class Evidence:
    """All that the results say.

    Attributes:
        effects: averages over prompts, best first; then those under each word that matters.
        fresh: what a phrase that was never tried may be worth: mean and standard deviation.
        bend: number of phrases -> change of the reward against the plain sum of the phrases' effects.
        results: how many results there were (naive ones not counted).
        share: word -> share of the results whose naive prompt mentions it.
    """

    effects: tuple[Effect, ...]
    fresh: tuple[float, float]
    bend: dict[int, float]
    results: int
    share: dict[str, float]


@dataclass(frozen=True)
class _Data:
    names: list[str]
    has: Array  # results x phrases
    bends: Array  # results x BENDS
    words: dict[str, Array]  # word -> mask over results
    same_block: Array  # results x results
    rewards: Array


def added_phrases(naive: str, refined: str) -> list[str]:
    """Return the phrases of the refined prompt that the naive one does not have, lower-cased."""
    own = {phrase.lower() for phrase in phrases(naive)}
    return list(dict.fromkeys(phrase.lower() for phrase in phrases(refined) if phrase.lower() not in own))


def weigh(results: Sequence[Result]) -> Evidence | None:
    """Weigh the phrases; None when no result added any."""
    rows = [row for row in results if row.who != "naive" and added_phrases(row.naive, row.refined)][-_MOST_RESULTS:]
    if not rows:
        return None
    data = _design(rows)
    unit = float(np.sqrt(np.mean(np.square(data.rewards)))) or 1.0
    rewards = data.rewards / unit
    size, noise, shared = max(
        product((0.2, 0.4, 0.8), (0.1, 0.3, 0.6, 1.0), (0.0, 0.5)),
        key=lambda setting: _likelihood(data, rewards, setting, ()),
    )
    chosen = _words_that_matter(data, rewards, (size, noise, shared))
    return _posterior(data, rewards, (size, noise, shared), chosen, unit)


def _design(rows: Sequence[Result]) -> _Data:
    added = [added_phrases(row.naive, row.refined) for row in rows]
    names = sorted({phrase for group in added for phrase in group})
    place = {name: index for index, name in enumerate(names)}
    has = np.zeros((len(rows), len(names)))
    for index, group in enumerate(added):
        has[index, [place[phrase] for phrase in group]] = 1.0
    counts = has.sum(axis=1)
    told = [set(content_words(row.naive)) for row in rows]
    prompts = {row.naive: set(content_words(row.naive)) for row in rows}
    spread = Counter(word for group in prompts.values() for word in group)
    words = {
        word: np.array([float(word in group) for group in told])
        for word in sorted(spread)
        if 2 <= spread[word] < len(prompts)
    }
    words = {word: mask for word, mask in words.items() if _FEWEST_RESULTS <= mask.sum() <= 0.7 * len(rows)}
    blocks = np.array([row.block for row in rows])
    bends = np.stack([np.maximum(0.0, counts - bend) for bend in BENDS], axis=1)
    same = (blocks[:, None] == blocks[None, :]).astype(float)
    return _Data(names, has, bends, words, same, np.array([row.reward for row in rows]))


_Setting = tuple[float, float, float]


def _noise(data: _Data, setting: _Setting) -> Array:
    _, noise, shared = setting
    return noise * ((1 - shared) * np.eye(len(data.rewards)) + shared * data.same_block)


def _features(data: _Data, setting: _Setting, words: tuple[str, ...]) -> Array:
    """Return the features, each scaled by its prior's standard deviation."""
    size = setting[0]
    groups = [data.bends * (size * 0.5), data.has * size]
    groups += [data.has * data.words[word][:, None] * size for word in words]
    return np.concatenate(groups, axis=1)


def _likelihood(data: _Data, rewards: Array, setting: _Setting, words: tuple[str, ...]) -> float:
    features = _features(data, setting, words)
    factor = np.linalg.cholesky(features @ features.T + _noise(data, setting))
    white = np.linalg.solve(factor, rewards)
    return float(-0.5 * white @ white - np.log(np.diag(factor)).sum())


def _words_that_matter(data: _Data, rewards: Array, setting: _Setting) -> tuple[str, ...]:
    """Add words one by one, as long as phrase effects that depend on the word explain the rewards clearly better."""
    chosen: tuple[str, ...] = ()
    current = _likelihood(data, rewards, setting, chosen)
    while len(chosen) < _MOST_WORDS:
        rest = [word for word in data.words if word not in chosen]
        if not rest:
            break
        gains = {word: _likelihood(data, rewards, setting, (*chosen, word)) - current for word in rest}
        best = max(rest, key=lambda word: gains[word])
        if gains[best] < _MIN_GAIN:
            break
        chosen, current = (*chosen, best), current + gains[best]
    return chosen


def _posterior(data: _Data, rewards: Array, setting: _Setting, words: tuple[str, ...], unit: float) -> Evidence:
    features = _features(data, setting, words)
    inverse = np.linalg.inv(features @ features.T + _noise(data, setting))
    weights = features.T @ inverse @ rewards
    cov = np.eye(features.shape[1]) - features.T @ inverse @ features
    size, kinds, many = setting[0], len(BENDS), len(data.names)
    share = {word: float(data.words[word].mean()) for word in words}

    def worth(phrase: int, mix: dict[str, float]) -> tuple[float, float]:
        vector = np.zeros(features.shape[1])
        vector[0] = size * 0.5
        vector[kinds + phrase] = size
        for place, word in enumerate(words, start=1):
            vector[kinds + place * many + phrase] = size * mix.get(word, 0.0)
        return unit * float(vector @ weights), unit * max(float(vector @ cov @ vector), 0.0) ** 0.5

    effects = []
    for index, name in enumerate(data.names):
        effects.append(Effect(name, "", *worth(index, share), int(data.has[:, index].sum())))
    effects.sort(key=lambda effect: -effect.mean)
    for word in words:
        mask = data.words[word]
        group = [
            Effect(name, word, *worth(index, {word: 1.0}), int((data.has[:, index] * mask).sum()))
            for index, name in enumerate(data.names)
        ]
        effects += sorted(group, key=lambda effect: -effect.mean)
    numbers = range(1, int(np.max(data.has.sum(axis=1))) + 3)
    slopes = weights[1:kinds] * size * 0.5
    bend = {n: unit * float(slopes @ (n - _AFTER).clip(min=0.0)) for n in numbers}
    fresh = (unit * size * 0.5 * float(weights[0]), unit * size)
    return Evidence(tuple(effects), fresh, bend, len(rewards), share)

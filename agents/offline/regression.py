"""The regression behind the offline Gradient Calculator: which weights explain the paired rewards. Pure.

reward = sum over the added phrases of (common + own[phrase] + own[phrase, word] for mentioned words that matter to it)
         + bend(number of phrases) + what the results of one block share + noise

All weights have zero-mean normal priors, so what rests on little evidence is shrunk towards the average phrase. The
sizes of the prior and of the noise maximise the marginal likelihood. Pairs of a phrase and a word start outside the
model; a word comes in when its pairs together explain the rewards clearly better (spike and slab, George and
McCulloch 1993).
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
Pair = tuple[str, int]
"""A word of naive prompts and the index of a phrase."""

BENDS = (0, 3, 4, 5, 6, 7, 8, 10)
"""Numbers of phrases after which one more phrase may change its worth; the first is the worth of any phrase at all."""

BEND_SIZE = 0.5
"""Prior standard deviation of a bend, relative to a phrase's."""

_SIZES = (0.2, 0.4, 0.8)
_NOISES = (0.05, 0.1, 0.2, 0.4, 0.8)
_SHARES = (0.0, 0.5)
_PAIR_ODDS = 0.15
_WORD_GAIN = 1.5
_MOST_PAIRS = 40
_FEWEST_RESULTS = 6
_MOST_PRESENT = 0.7


@dataclass(frozen=True)
class Setting:
    """Sizes of the model: prior standard deviation of a phrase's weight, noise variance, and its share per block."""

    size: float
    noise: float
    shared: float


@dataclass(frozen=True)
class Design:
    """The results as arrays. Rewards are in units of their root mean square."""

    names: list[str]
    has: Array  # results x phrases
    bends: Array  # results x BENDS
    words: list[str]
    mentioned: Array  # results x words
    same_block: Array  # results x results
    rewards: Array
    unit: float


@dataclass(frozen=True)
class Fit:
    """The posterior of the weights in the order of `features`: normal, with mean and covariance."""

    design: Design
    setting: Setting
    pairs: tuple[Pair, ...]
    mean: Array
    cov: Array


def added_phrases(naive: str, refined: str) -> list[str]:
    """Return the phrases of the refined prompt that the naive one does not have, lower-cased."""
    own = {phrase.lower() for phrase in phrases(naive)}
    return list(dict.fromkeys(phrase.lower() for phrase in phrases(refined) if phrase.lower() not in own))


def make_design(rows: Sequence[Result]) -> Design:
    """Turn results that all added phrases into arrays."""
    added = [added_phrases(row.naive, row.refined) for row in rows]
    names = sorted({phrase for group in added for phrase in group})
    place = {name: index for index, name in enumerate(names)}
    has = np.zeros((len(rows), len(names)))
    for index, group in enumerate(added):
        has[index, [place[phrase] for phrase in group]] = 1.0
    told = [set(content_words(row.naive)) for row in rows]
    spread = Counter(
        word for group in {row.naive: group for row, group in zip(rows, told, strict=True)}.values() for word in group
    )
    present = Counter(word for group in told for word in group)
    words = [
        word
        for word in sorted(spread)
        if spread[word] >= 2 and _FEWEST_RESULTS <= present[word] <= _MOST_PRESENT * len(rows)
    ]
    mentioned = np.array([[float(word in group) for word in words] for group in told]).reshape(len(rows), len(words))
    blocks = np.array([row.block for row in rows])
    counts = has.sum(axis=1)
    bends = np.stack([(counts - bend).clip(min=0.0) for bend in BENDS], axis=1)
    rewards = np.array([row.reward for row in rows])
    unit = float(np.sqrt(np.mean(np.square(rewards)))) or 1.0
    same = (blocks[:, None] == blocks[None, :]).astype(float)
    return Design(names, has, bends, words, mentioned, same, rewards / unit, unit)


def fit(design: Design) -> Fit:
    """Fit the model: choose its sizes and its pairs in turns, then return the posterior."""
    pairs: tuple[Pair, ...] = ()
    setting = _best_setting(design, pairs)
    while len(pairs) < _MOST_PAIRS:
        more = _more_pairs(design, setting, pairs)
        if not more:
            break
        pairs = (*pairs, *more)
        setting = _best_setting(design, pairs)
    phi = features(design, setting, pairs)
    gain = np.linalg.solve(_covariance(design, setting, phi), phi).T
    return Fit(design, setting, pairs, gain @ design.rewards, np.eye(phi.shape[1]) - gain @ phi)


def features(design: Design, setting: Setting, pairs: Sequence[Pair]) -> Array:
    """Return results x weights: bends, phrases, pairs; each scaled by its prior's standard deviation."""
    groups = [design.bends * (setting.size * BEND_SIZE), design.has * setting.size]
    groups += [
        (design.has[:, phrase] * design.mentioned[:, design.words.index(word)] * setting.size)[:, None]
        for word, phrase in pairs
    ]
    return np.concatenate(groups, axis=1)


def _covariance(design: Design, setting: Setting, phi: Array) -> Array:
    own = (1 - setting.shared) * np.eye(len(design.rewards))
    return phi @ phi.T + setting.noise * (own + setting.shared * design.same_block)


def _best_setting(design: Design, pairs: Sequence[Pair]) -> Setting:
    settings = [Setting(*values) for values in product(_SIZES, _NOISES, _SHARES)]
    return max(settings, key=lambda setting: _likelihood(design, setting, pairs))


def _likelihood(design: Design, setting: Setting, pairs: Sequence[Pair]) -> float:
    covariance = _covariance(design, setting, features(design, setting, pairs))
    _, logdet = np.linalg.slogdet(covariance)
    return float(-0.5 * design.rewards @ np.linalg.solve(covariance, design.rewards) - 0.5 * logdet)


def _more_pairs(design: Design, setting: Setting, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the next pairs to take in: those of the word that gains most, or more of a word that is in already."""
    if not design.words:
        return []
    covariance = _covariance(design, setting, features(design, setting, pairs))
    solved = np.linalg.solve(covariance, np.column_stack([design.rewards, np.eye(len(design.rewards))]))
    weight, inverse = solved[:, 0], solved[:, 1:]
    many, known = len(design.names), {word for word, _ in pairs}
    best_gain, best = 0.0, list[Pair]()
    for index, word in enumerate(design.words):
        columns = design.has * design.mentioned[:, index : index + 1] * setting.size
        pull = columns.T @ weight
        spread = np.einsum("np,np->p", columns, inverse @ columns)
        log_bayes = 0.5 * np.square(pull) / (1 + spread) - 0.5 * np.log1p(spread)
        fresh = np.array([(word, phrase) not in pairs for phrase in range(many)])
        log_odds = np.where(fresh, np.log(_PAIR_ODDS / (1 - _PAIR_ODDS)) + log_bayes, -np.inf)
        gain = float(np.sum(np.logaddexp(0.0, log_odds)[fresh] + np.log1p(-_PAIR_ODDS)))
        chosen = [(word, int(phrase)) for phrase in np.flatnonzero(log_odds > 0)]
        if chosen and (word in known or gain > _WORD_GAIN) and gain > best_gain:
            best_gain, best = gain, chosen
    return best

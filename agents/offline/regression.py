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

import numpy as np
from numpy.typing import NDArray

from agents.contrasts import Result
from core.text import content_words, phrases, unique

Array = NDArray[np.float64]
Pair = tuple[str, int]
"""A word of naive prompts and the index of a phrase."""

BENDS = (0, 3, 4, 5, 6, 7, 8, 10)
"""Numbers of phrases after which one more phrase may change its worth; the first is the worth of any phrase at all."""

BEND_SIZE = 0.5
"""Prior standard deviation of a bend, relative to a phrase's."""

_SIZES = np.array([0.15, 0.25, 0.4, 0.6, 0.9])
_NOISES = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
_SHARES = (0.0, 0.5)
_PAIR_ODDS = 0.15
_WORD_GAIN = 1.5
_MOST_PAIRS = 40
_FEWEST_RESULTS = 6
_FEWEST_OF_PHRASE = 4
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
    """The posterior of the weights (bends, phrases, pairs), in units of `setting.size`: mean and covariance."""

    design: Design
    setting: Setting
    pairs: tuple[Pair, ...]
    mean: Array
    cov: Array


NOT = "not: "
"""Stands before the name of a phrase of the negative prompt."""


def added_phrases(result: Result) -> list[str]:
    """Return what a result added to its naive prompt, lower-cased: new phrases, then those of the negative prompt."""
    own = {phrase.lower() for phrase in phrases(result.naive)}
    added = [phrase.lower() for phrase in phrases(result.refined) if phrase.lower() not in own]
    return unique([*added, *(NOT + phrase.lower() for phrase in phrases(result.negative))])


def make_design(rows: Sequence[Result]) -> Design:
    """Turn results that all added phrases into arrays."""
    added = [added_phrases(row) for row in rows]
    names = unique(phrase for group in added for phrase in group)
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
    counts = has[:, [not name.startswith(NOT) for name in names]].sum(axis=1)
    bends = np.stack([(counts - bend).clip(min=0.0) for bend in BENDS], axis=1)
    rewards = np.array([row.reward for row in rows])
    unit = float(np.sqrt(np.mean(np.square(rewards)))) or 1.0
    same = (blocks[:, None] == blocks[None, :]).astype(float)
    return Design(names, has, bends, words, mentioned, same, rewards / unit, unit)


class _Space:
    """The design with what the results of one block share taken out, so that the noise left is independent."""

    def __init__(self, design: Design, shared: float) -> None:
        whiten = np.linalg.inv(
            np.linalg.cholesky((1 - shared) * np.eye(len(design.rewards)) + shared * design.same_block)
        )
        self.shared = shared
        self.rewards = whiten @ design.rewards
        self.base = whiten @ np.concatenate([design.bends * BEND_SIZE, design.has], axis=1)
        self.logdet = 2.0 * float(np.log(np.diag(whiten)).sum())
        self.phrases = np.flatnonzero(design.has.sum(axis=0) >= _FEWEST_OF_PHRASE)
        self.columns = {
            word: whiten @ (design.has[:, self.phrases] * design.mentioned[:, index : index + 1])
            for index, word in enumerate(design.words)
        }

    def features(self, pairs: Sequence[Pair]) -> Array:
        """Return results x weights, all with the same prior: bends, phrases, pairs."""
        place = {int(phrase): index for index, phrase in enumerate(self.phrases)}
        return np.column_stack([self.base, *(self.columns[word][:, place[phrase]] for word, phrase in pairs)])

    def best_setting(self, pairs: Sequence[Pair]) -> tuple[float, Setting]:
        """Return the highest log marginal likelihood over the grid of sizes and noises, and where it is."""
        left, values, _ = np.linalg.svd(self.features(pairs), full_matrices=False)
        size, noise = (grid.ravel()[:, None] for grid in np.meshgrid(_SIZES, _NOISES))
        spread = np.square(size * values)
        explained = spread / (spread + noise) @ np.square(left.T @ self.rewards)
        rest = (float(self.rewards @ self.rewards) - explained) / noise[:, 0]
        logdet = len(self.rewards) * np.log(noise[:, 0]) + np.log1p(spread / noise).sum(axis=1)
        likelihood = self.logdet / 2 - 0.5 * (rest + logdet)
        best = int(np.argmax(likelihood))
        return float(likelihood[best]), Setting(float(size[best, 0]), float(noise[best, 0]), self.shared)

    def more_pairs(self, setting: Setting, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the next pairs: those of the word that gains most, or more of a word that is in already."""
        left, values, _ = np.linalg.svd(self.features(pairs), full_matrices=False)
        spread = np.square(setting.size * values)
        taken = spread / (spread + setting.noise)
        known, best_gain, best = {word for word, _ in pairs}, 0.0, list[Pair]()
        residual = (self.rewards - left @ (taken * (left.T @ self.rewards))) / setting.noise
        for word, plain in self.columns.items():
            columns = plain * setting.size
            free = (np.square(columns).sum(axis=0) - taken @ np.square(left.T @ columns)).clip(min=0.0) / setting.noise
            log_bayes = 0.5 * np.square(columns.T @ residual) / (1 + free) - 0.5 * np.log1p(free)
            fresh = np.array([(word, int(phrase)) not in pairs for phrase in self.phrases], dtype=bool)
            log_odds = np.where(fresh, np.log(_PAIR_ODDS / (1 - _PAIR_ODDS)) + log_bayes, -np.inf)
            gain = float(np.sum(np.logaddexp(0.0, log_odds)[fresh] + np.log1p(-_PAIR_ODDS)))
            chosen = [(word, int(phrase)) for phrase in self.phrases[log_odds > 0]]
            if chosen and gain > best_gain and (word in known or gain > _WORD_GAIN):
                best_gain, best = gain, chosen
        return best


def fit(design: Design) -> Fit:
    """Fit the model: choose its sizes and its pairs in turns, then return the posterior."""
    lone = bool(np.all(design.same_block.sum(axis=1) == 1))
    spaces = [_Space(design, shared) for shared in _SHARES[: 1 if lone else None]]
    pairs: tuple[Pair, ...] = ()
    while True:
        space = max(spaces, key=lambda space: space.best_setting(pairs)[0])
        setting = space.best_setting(pairs)[1]
        more = space.more_pairs(setting, pairs) if len(pairs) < _MOST_PAIRS else []
        if not more:
            break
        pairs = (*pairs, *more)
    scaled = space.features(pairs) * setting.size
    cov = np.asarray(np.linalg.inv(np.eye(scaled.shape[1]) + scaled.T @ scaled / setting.noise), dtype=np.float64)
    mean = cov @ (scaled.T @ space.rewards) / setting.noise
    return Fit(design, setting, pairs, mean, cov)

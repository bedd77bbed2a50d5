"""Signs that a policy games its reward: computed at every step of PPO, with warnings. Imports no torch."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from core.text import content_words, ngrams, words

_LESS_DISTINCT, _LONGER, _SHORTER = 0.5, 2.0, 0.4
"""Shares of the first step's value at which a warning is due."""
_SUBJECT_KEPT, _KL, _DISAGREEMENT, _SAME = 0.8, 30.0, 0.5, 0.5


def distinct(texts: Sequence[str], n: int) -> float:
    """Return distinct word n-grams over all word n-grams of the texts; 1 when there are none (1510.03055)."""
    total = sum(max(0, len(words(text)) - n + 1) for text in texts)
    found: set[tuple[str, ...]] = set().union(*(ngrams(text, n) for text in texts))
    return len(found) / total if total else 1.0


def mean_words(texts: Sequence[str]) -> float:
    """Return the mean number of words of a text."""
    return sum(len(words(text)) for text in texts) / max(1, len(texts))


def subject_kept(prompts: Sequence[str], refined: Sequence[str]) -> float:
    """Return the share of the users' content words that their refined prompts have, over all prompts."""
    kept = total = 0
    for prompt, text in zip(prompts, refined, strict=True):
        wanted, there = set(content_words(prompt)), set(words(text))
        kept, total = kept + len(wanted & there), total + len(wanted)
    return kept / total if total else 1.0


def disagreement(rewards: Mapping[str, Sequence[float | None]]) -> float:
    """Return the share of (episode, pair of scorers) in which one scorer sees a gain and the other a loss.

    0.5 is what unrelated scorers give; 0 with a single scorer. Episodes without a number are left out.
    """
    split = total = 0
    for first, second in itertools.combinations(rewards.values(), 2):
        for a, b in zip(first, second, strict=True):
            if a is not None and b is not None:
                split, total = split + (a * b < 0), total + 1
    return split / total if total else 0.0


def collapse_metrics(
    prompts: Sequence[str], refined: Sequence[str], rewards: Mapping[str, Sequence[float | None]]
) -> dict[str, float]:
    """Return the diagnostics of one step (docs/metrics.md)."""
    return {
        "collapse/distinct_1": distinct(refined, 1),
        "collapse/distinct_2": distinct(refined, 2),
        "collapse/words": mean_words(refined),
        "collapse/subject_kept": subject_kept(prompts, refined),
        "collapse/disagreement": disagreement(rewards),
    }


def added(prompt: str, refined: str) -> tuple[str, ...]:
    """Return the words that a refined prompt adds: those behind the user's; all that are not his where it rewrites."""
    mine, there = words(prompt), words(refined)
    if there[: len(mine)] == mine:
        return tuple(there[len(mine) :])
    return tuple(word for word in there if word not in mine)


def greedy_metrics(prompts: Sequence[str], refined: Sequence[str]) -> dict[str, float]:
    """Return what greedy answers to different prompts tell (docs/metrics.md).

    What is sampled may still vary when the most probable answer says the same to everybody.
    """
    counts = Counter(map(added, prompts, refined))
    return {
        "collapse/greedy_distinct": len(counts) / len(prompts),
        "collapse/greedy_same": max(counts.values()) / len(prompts),
    }


def warnings(now: Mapping[str, float], first: Mapping[str, float]) -> list[str]:
    """Return a line for each sign of collapse in a step's metrics, compared with the first step's."""
    found = []
    before, after = first["collapse/distinct_2"], now["collapse/distinct_2"]
    if after < _LESS_DISTINCT * before:
        found.append(f"distinct-2 fell from {before:.3f} to {after:.3f}: the answers become alike")
    before, after = first["collapse/words"], now["collapse/words"]
    if not _SHORTER * before <= after <= _LONGER * before:
        found.append(f"answers have {after:.1f} words, {before:.1f} at first: length pays")
    if now["collapse/subject_kept"] < _SUBJECT_KEPT:
        found.append(f"answers keep {now['collapse/subject_kept']:.0%} of the users' content words")
    if not math.isfinite(now["objective/kl"]) or now["objective/kl"] > _KL:
        found.append(f"KL to the start is {now['objective/kl']:.1f} nats an episode: raise kl_coef")
    if now["collapse/disagreement"] > _DISAGREEMENT:
        found.append(f"scorers disagree on {now['collapse/disagreement']:.0%} of the gains: one may be gamed")
    if now.get("collapse/greedy_same", 0.0) > _SAME:
        found.append(f"greedy answers add the same words to {now['collapse/greedy_same']:.0%} of different prompts")
    return found

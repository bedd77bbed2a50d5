"""The offline Generator: does what the instruction says, word for word, and borrows phrases where it is told to."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from agents.messages import example_lines
from agents.offline.plan import Plan, mentions, read_plan
from core.text import content_words, phrases, unique, words

_CHARACTERS = re.compile(r"at most (\d+) characters")
_WORDS = re.compile(r"roughly (\d+) words")
_LONGEST_PHRASE = 4
NEGATIVE = "negative prompt"
"""Stands in the rules of a message when there may be one."""


def refine(parts: Mapping[str, str], rng: np.random.Generator) -> dict[str, str]:
    """Answer a Generator message: the naive prompt, then the phrases of the instruction; a negative prompt if asked."""
    naive = parts["prompt"].strip()
    plan = read_plan(parts.get("instruction", ""))
    added = choose(plan, naive, example_lines(parts), rng)
    characters, seen = (pattern.search(parts.get("rules", "")) for pattern in (_CHARACTERS, _WORDS))
    while added and characters and len(", ".join([naive, *added])) > int(characters.group(1)):
        added.pop()
    while added and seen and len(words(", ".join([naive, *added]))) > int(seen.group(1)):
        added.pop()
    reply = {"prompt": ", ".join([naive.rstrip(" ,."), *added]) if added else naive}
    if NEGATIVE in parts.get("rules", ""):
        own = {phrase.lower() for phrase in phrases(naive)}
        tried = _pick(plan.forbid_pool, plan.forbid_count, own | set(plan.forbid), rng)
        reply["negative_prompt"] = ", ".join(p for p in unique([*plan.forbid, *tried]) if not _shares_word(p, naive))
    return reply


def _shares_word(phrase: str, naive: str) -> bool:
    return bool(set(words(phrase)) & set(content_words(naive)))


def choose(plan: Plan, naive: str, examples: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Choose the phrases to add: for mentioned words first, then constant, then tried, then borrowed ones."""
    taken = {phrase.lower() for phrase in phrases(naive)} | {phrase.lower() for phrase in plan.never}
    told = [phrase for word, group in plan.mentions if mentions(naive, word) for phrase in group]
    fixed = [phrase for phrase in unique([*told, *plan.always]) if phrase not in taken]
    taken.update(fixed)
    tried = _pick(plan.try_pool, plan.try_count, taken, rng)
    taken.update(tried)
    borrowed = _pick(borrowable(examples), plan.borrow, taken, rng)
    return [*fixed, *tried, *borrowed][: plan.at_most]


def borrowable(examples: Iterable[str]) -> list[str]:
    """Return the short phrases of professional prompts, without each prompt's first one: that is its own subject."""
    found = (phrase.lower() for example in examples for phrase in phrases(example)[1:])
    return unique(phrase for phrase in found if 1 <= len(words(phrase)) <= _LONGEST_PHRASE)


def _pick(pool: Iterable[str], count: int, taken: set[str], rng: np.random.Generator) -> list[str]:
    candidates = [phrase for phrase in pool if phrase not in taken]
    order = rng.permutation(len(candidates))
    return [candidates[place] for place in order[:count]]

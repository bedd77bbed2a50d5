"""How an answer relates to the user's words: gone on from, joined, tidied, kept. For every model; imports no torch."""

import re
from collections.abc import Sequence

from core.text import content_words, phrases, words

EMPTY = "the prompt is empty; expected what the picture should show"
"""Why a prompt without a word or character to draw fails."""
_TRAILING = " \t\n.,;:。，、；：．"
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Kana, Chinese characters and Hangul: scripts in which words may not be set apart."""
_COMMA = re.compile(r"\s*,(?=[\s,])|\s+,")


def stem(prompt: str) -> str:
    """Return a user's prompt in one line without the punctuation and spaces at its end."""
    return " ".join(prompt.split()).rstrip(_TRAILING)


def prefix_of(prompt: str) -> str:
    """Return what a model goes on from: the prompt and a comma.

    The end of the prompt is stripped first. PRIP's paper did not: its examples have a seam ("as a DJ., he is wearing"),
    which no professional prompt has.
    """
    return f"{stem(prompt)},"


def join(prompt: str, continuation: str) -> str:
    """Return the whole prompt from a user's prompt and what a model added; the stem alone when it added nothing.

    Phrases between commas that were said before are left out: a most probable text likes to say "8k, 8k".
    """
    added = _unsaid(_first_line(continuation), phrases(prompt))
    return f"{prefix_of(prompt)} {added}" if added else stem(prompt)


def tidy(text: str) -> str:
    """Return the first line of what a model wrote, without loose punctuation at its ends or repeated phrases."""
    return _unsaid(_first_line(text), ())


def share_kept(prompt: str, refined: str) -> float:
    """Return the share of a prompt's content words that a refined prompt has; 1 for a prompt without any.

    Where a script does not set words apart, its characters are counted instead.
    """
    wanted = _units(content_words(prompt))
    there = set(_units(words(refined)))
    return sum(unit in there for unit in wanted) / len(wanted) if wanted else 1.0


def _units(parts: list[str]) -> list[str]:
    return [unit for part in parts for unit in (part if _WIDE.search(part) else [part])]


def _first_line(text: str) -> str:
    return stem((text.strip().splitlines() or [""])[0]).lstrip(_TRAILING)


def _unsaid(text: str, said: Sequence[str]) -> str:
    """Return a text's phrases that occur neither in `said` nor earlier in it; a comma inside a number parts nothing."""
    seen, kept = {phrase.lower() for phrase in said}, []
    for phrase in _COMMA.split(text):
        if (key := phrase.strip(_TRAILING).lower()) and key not in seen:
            seen.add(key)
            kept.append(phrase.strip())
    return ", ".join(kept)

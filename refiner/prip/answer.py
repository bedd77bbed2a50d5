"""How PRIP's answer relates to the user's words: as a literal prefix, or kept close without one. Imports no torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import BadInput
from core.text import content_words, phrases, words

_TRAILING = " \t\n.,;:。，、；：．"
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Kana, Chinese characters and Hangul: scripts in which words may not be set apart."""
_COMMA = re.compile(r"\s*,(?=\s)|\s+,")
MODES = ("prefix", "close")


@dataclass(frozen=True)
class Answering:
    """How an answer is made.

    Attributes:
        mode: `prefix`: the user's prompt, a comma, and what D adds (paper, section 3.5). `close`: D writes the whole
            prompt, `candidates` times; the one that keeps most of the user's content words is taken, and the prefix
            form where none keeps `min_kept` of them (the paper leaves such decoding to future work).
        max_new_tokens: of an answer.
        temperature: 0 = the most probable tokens (paper, section 3.1); `close` needs more for different candidates.
        no_repeat_ngram_size: no n-gram of this many tokens is written twice; 0 = no such rule. Repeated phrases
            are left out in any case.
        candidates: prompts that `close` chooses from.
        min_kept: share of the user's content words that `close` must keep.
    """

    mode: str = "prefix"
    max_new_tokens: int = 75
    temperature: float = 0.0
    no_repeat_ngram_size: int = 0
    candidates: int = 8
    min_kept: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadInput(f"mode is {self.mode!r}, expected one of {', '.join(MODES)}")
        if self.candidates < 1 or not 0 <= self.min_kept <= 1:
            raise BadInput(f"answering: got {self}, expected candidates >= 1 and min_kept from 0 to 1")


def stem(prompt: str) -> str:
    """Return a user's prompt in one line without the punctuation and spaces at its end."""
    return " ".join(prompt.split()).rstrip(_TRAILING)


def prefix_of(prompt: str) -> str:
    """Return what D goes on from: the prompt and a comma.

    The end of the prompt is stripped first. The paper did not: its examples have a seam ("as a DJ., he is wearing"),
    which no prompt of D's training data has.
    """
    return f"{stem(prompt)},"


def join(prompt: str, continuation: str) -> str:
    """Return the whole prompt from a user's prompt and what D added; the stem alone when it added nothing.

    Phrases between commas that were said before are left out: a most probable text likes to say "8k, 8k".
    """
    added = _unsaid(_first_line(continuation), phrases(prompt))
    return f"{prefix_of(prompt)} {added}" if added else stem(prompt)


def tidy(text: str) -> str:
    """Return the first line of what D wrote, without loose punctuation at its ends and without repeated phrases."""
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

"""What changed between two texts, so that a page can mark it."""

import re
from difflib import SequenceMatcher

_PIECES = re.compile(r"\s+|[^\W_]+(?:['’-][^\W_]+)*|.", re.DOTALL)
_EDGE = re.compile(r"([\s,;.]*)(.*)", re.DOTALL)
_SENTENCE = re.compile(r"\n+|(?<=[.!?])\s+(?=[^\s])")

MOST_PAIRS = 1_000_000
"""Pieces of one text times pieces of the other that are compared; beyond that nothing is marked, in good time."""


def added_words(naive: str, refined: str) -> list[tuple[str, bool]]:
    """Split a refined prompt into pieces, each with whether it is new beside the naive prompt.

    The pieces, joined, are the refined prompt. Words are compared without regard to case; commas and spaces before a
    new word do not count as new. Very long texts are not compared.
    """
    before, after = _PIECES.findall(naive), _PIECES.findall(refined)
    if len(before) * len(after) > MOST_PAIRS:
        return [(refined, False)] if refined else []
    matcher = SequenceMatcher(None, [word.lower() for word in before], [word.lower() for word in after], autojunk=False)
    pieces: list[tuple[str, bool]] = []
    for kind, _, _, start, end in matcher.get_opcodes():
        text = "".join(after[start:end])
        edge, rest = _EDGE.fullmatch(text).groups() if kind != "equal" else (text, "")  # type: ignore[union-attr]
        pieces += [(edge, False), (rest, True)]
    return [(text, new) for text, new in pieces if text]


def changed_sentences(before: str, after: str) -> list[tuple[str, str]]:
    """Return the sentences of two texts with how they differ: `same`, `gone` or `new`, in reading order."""
    old, new = (_SENTENCE.split(text.strip()) for text in (before, after))
    sentences: list[tuple[str, str]] = []
    for kind, start, end, first, last in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            sentences += [("same", text) for text in new[first:last]]
        else:
            sentences += [("gone", text) for text in old[start:end]] + [("new", text) for text in new[first:last]]
    return sentences

"""Clauses: what a text must say, how often at most, and in which order. Pure; judged on text, never on tokens.

A term occurs where its words stand on their own, whatever their case: "cat" is in "Cat, sitting" and in "cat-like", not
in "category", and between its words there is spacing of any length. Next to scripts that put no spaces between words
(Chinese, Japanese, Korean, Thai) any place will do.
Occurrences are counted by where they begin, so that "oil" and "oil painting" in one clause count once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from core.errors import BadInput

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LETTER = f"[^\\W_{_UNSPACED}]"
_IS_LETTER = re.compile(_LETTER)
_ODD_SPACE = re.compile(r"\s{2,}|[^\S ]")
"""Spacing that is not a single space."""

Span = tuple[int, int]
"""Begin and end of an occurrence, in characters."""


@dataclass(frozen=True)
class Clause:
    """An OR of terms and how often they may occur; `must` and `must_not` make the usual two.

    `at_least` is a wish: texts are ranked by how many clauses they meet. `at_most` is a law: none is produced that
    breaks it.

    Attributes:
        terms: any of these counts.
        at_least: occurrences that the clause needs to be met.
        at_most: occurrences that it allows; None = any number. 0 forbids the terms.
        order: clauses with a positive order are met only after all those with a lower positive one; 0 = anywhere.
        label: what the clause is for, in reports.
    """

    terms: tuple[str, ...]
    at_least: int = 1
    at_most: int | None = None
    order: int = 0
    label: str = ""

    def __post_init__(self) -> None:
        if not self.terms or any(not term.strip() for term in self.terms):
            raise BadInput(f"constraint {self.label}: got {self.terms!r}, expected terms that say something; add one")
        if not 0 <= self.at_least <= (self.at_least if self.at_most is None else self.at_most) or self.order < 0:
            raise BadInput(
                f"constraint {self.terms[0]!r}: got at least {self.at_least}, at most {self.at_most}, order "
                f"{self.order}; expected 0 <= at least <= at most and 0 <= order"
            )


def must(*terms: str, label: str = "must") -> Clause:
    """Return the clause that one of the terms occurs."""
    return Clause(terms, label=label)


def must_not(*terms: str, label: str = "must not") -> Clause:
    """Return the clause that none of the terms is produced."""
    return Clause(terms, at_least=0, at_most=0, label=label)


def occurrences(terms: tuple[str, ...], text: str, start: int = 0) -> list[Span]:
    """Return where a term begins, from `start` on, and where the shortest term that begins there ends; in order."""
    return [match.span(1) for match in _pattern(terms).finditer(text.lower(), start)]


def contains(terms: tuple[str, ...], text: str) -> bool:
    """Tell whether one of the terms occurs in the text."""
    return _pattern(terms).search(text.lower()) is not None


@lru_cache(maxsize=4096)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for lower-case text that matches, without width, where a term begins; group 1 is the term."""
    spaced: list[str] = []
    unspaced: list[str] = []
    for term in sorted(map(plain_term, terms), key=len):
        body = r"\s+".join(re.escape(word) for word in term.split(" "))
        after = f"(?!{_LETTER})" if _IS_LETTER.match(term[-1]) else ""
        (spaced if _IS_LETTER.match(term[0]) else unspaced).append(body + after)
    alone = [f"(?<!{_LETTER})(?:{'|'.join(spaced)})"] if spaced else []
    return re.compile(f"(?=({'|'.join(alone + unspaced)}))")


@dataclass(frozen=True)
class Verdict:
    """What a text means for some clauses.

    Attributes:
        text: the text, in lower case, with single spaces and without the bytes of an unfinished character at its end.
        spans: for each clause, the occurrences of its terms in `text`.
        met: for each clause, whether the text meets it as it stands.
        broken: an upper bound is exceeded, whatever follows.
        doubtful: an upper bound is exceeded unless the last word goes on ("cat" before "egory").
    """

    text: str
    spans: tuple[list[Span], ...]
    met: tuple[bool, ...]
    broken: bool = False
    doubtful: bool = False


class Judge:
    """Judges the texts that begin with one prefix.

    What the prefix says counts as said. It cannot be unsaid either, so that an upper bound below the prefix's own
    count means: not once more.
    """

    def __init__(self, clauses: Sequence[Clause], prefix: str = "") -> None:
        self.clauses = tuple(clauses)
        self._given = len(_plain(prefix))
        self._longest = [max(map(_reach, clause.terms)) for clause in self.clauses]

    def verdict(self, text: str, shorter: Verdict | None = None) -> Verdict:
        """Judge a text that may go on. `shorter`, the verdict on what it continues, saves work and changes nothing."""
        text = _plain(text.rstrip("\ufffd"))
        spans = tuple(self._spans(i, text, shorter) for i in range(len(self.clauses)))
        ends = len(text) if text and _IS_LETTER.match(text[-1]) else len(text) + 1  # where a last word may go on
        certain = [[span for span in found if span[1] < ends] for found in spans]
        broken = any(self._exceeded(i, found) for i, found in enumerate(certain))
        doubtful = not broken and any(self._exceeded(i, found) for i, found in enumerate(spans))
        return Verdict(text, spans, self._met(spans), broken, doubtful)

    def _spans(self, i: int, text: str, shorter: Verdict | None) -> list[Span]:
        """Return a clause's occurrences; those far enough from the end of `shorter` are taken from there."""
        terms = self.clauses[i].terms
        if shorter is None or not text.startswith(shorter.text):
            return occurrences(terms, text)
        start = max(0, len(shorter.text) - self._longest[i])
        return [span for span in shorter.spans[i] if span[0] < start] + occurrences(terms, text, start)

    def wanted(self, met: Sequence[bool]) -> list[int]:
        """Return the clauses that a text still lacks and that may be met next."""
        lacking = [i for i, clause in enumerate(self.clauses) if clause.at_least and not met[i]]
        first = min((self.clauses[i].order for i in lacking if self.clauses[i].order), default=0)
        return [i for i in lacking if self.clauses[i].order in (0, first)]

    def _exceeded(self, i: int, spans: Sequence[Span]) -> bool:
        """Tell whether the continuation adds to occurrences that are too many."""
        most = self.clauses[i].at_most
        return most is not None and len(spans) > most and any(end > self._given for _, end in spans)

    def _met(self, spans: Sequence[Sequence[Span]]) -> tuple[bool, ...]:
        met = [False] * len(self.clauses)
        floor, reached = 0, True
        by_order = sorted(range(len(met)), key=lambda i: self.clauses[i].order)
        for order, group in groupby(by_order, key=lambda i: self.clauses[i].order):
            ends = [floor]
            members = list(group)
            for i in members:
                clause = self.clauses[i]
                after = [span for span in spans[i] if span[0] >= floor] if order else spans[i]
                within = not self._exceeded(i, spans[i])
                met[i] = within and len(after) >= clause.at_least and (reached or not order)
                if met[i] and clause.at_least:
                    ends.append(after[clause.at_least - 1][1])
            if order:
                reached, floor = reached and all(met[i] for i in members), max(ends)
        return tuple(met)


def plain_term(term: str) -> str:
    """Return a term as it stands in a verdict's text: in lower case, with single spaces."""
    return " ".join(term.lower().split())


def _reach(term: str) -> int:
    """Return how many characters of a plain text decide whether a term occurs, from its first to the one behind it."""
    return len(plain_term(term)) + 1


def _plain(text: str) -> str:
    """Return a text in lower case with single spaces; that of a text that goes on begins with it."""
    return _ODD_SPACE.sub(" ", text.lower())

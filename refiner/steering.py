"""Which tokens lead towards wanted terms: how terms are spelled, begun and continued. Heavy: imports torch."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from refiner.beam import Path
from refiner.clauses import Clause


class Surface(NamedTuple):
    """One way to spell a term: its clause, its tokens, and whether it may follow a word (it brings its own space)."""

    clause: int
    tokens: tuple[int, ...]
    spaced: bool


class Guide:
    """Knows which tokens begin and continue some terms.

    Attributes:
        surfaces: each way to spell a term.
        tokens: all tokens of these, and `commas`, sorted.
        commas: what ends a phrase.
    """

    def __init__(self, surfaces: Sequence[Surface], commas: Sequence[int]) -> None:
        self.surfaces = surfaces
        self.tokens = sorted({*commas, *(token for surface in surfaces for token in surface.tokens)})
        self.commas = list(commas)
        self._begun: dict[int, list[int]] = {}
        self._starts: dict[tuple[int, bool], set[int]] = {}
        for place, surface in enumerate(surfaces):
            if len(surface.tokens) > 1:
                self._begun.setdefault(surface.tokens[0], []).append(place)
            self._starts.setdefault((surface.clause, surface.spaced), set()).add(surface.tokens[0])

    def follow(self, path: Path, token: int) -> Path:
        """Return the terms under way after one more token."""
        known = self.surfaces
        longer = [(s, m + 1) for s, m in path if known[s].tokens[m] == token and m + 1 < len(known[s].tokens)]
        return (*longer, *((s, 1) for s in self._begun.get(token, ())))

    def under_way(self, path: Path, clauses: Collection[int]) -> tuple[int, float]:
        """Return the clause, of these, whose term is furthest along, and its share; (-1, 0) without one."""
        shares = [(m / len(self.surfaces[s].tokens), -self.surfaces[s].clause) for s, m in path]
        share, clause = max((known for known in shares if -known[1] in clauses), default=(0.0, 1))
        return -clause, share

    def continuing(self, path: Path, clauses: Collection[int]) -> list[int]:
        """Return the tokens that continue a term of these clauses."""
        known = self.surfaces
        return [known[s].tokens[m] for s, m in path if known[s].clause in clauses]

    def beginning(self, clauses: Collection[int], after: str, logprobs: Mapping[int, float]) -> list[int]:
        """Return for each clause the likeliest token that begins one of its terms.

        Args:
            clauses: those that are wanted.
            after: the text so far; a term that brings no space begins only where there is one, or nothing.
            logprobs: of `tokens`; those that are missing may not follow.
        """
        found = []
        for clause in clauses:
            starts = self._starts.get((clause, True), set())
            if not after or after[-1].isspace():
                starts = starts | self._starts.get((clause, False), set())
            if allowed := starts & logprobs.keys():
                found.append(max(allowed, key=lambda token: (logprobs[token], -token)))
        return found


class Vocabulary:
    """What a tokenizer's tokens are to a search.

    Attributes:
        end: id of the end token, None without one.
        barred: (vocabulary,), -inf for tokens that only a wanted term may use, or none at all; else 0.
    """

    def __init__(self, tokenizer: Any, logprobs: torch.Tensor, blocked: str = "") -> None:
        self._tokenizer = tokenizer
        self._surfaces: dict[str, dict[tuple[int, ...], bool]] = {}
        self._guides: dict[tuple[str, tuple[Clause, ...]], Guide] = {}
        self.end: int | None = tokenizer.eos_token_id
        size, known = logprobs.shape[-1], len(tokenizer)
        self._special = {*tokenizer.all_special_ids, *range(known, size)}
        barred = {token for token in self._special if token < size}
        if blocked:
            texts = self.texts([[token] for token in range(min(size, known))])
            barred |= {token for token, text in enumerate(texts) if set(text) & set(blocked)}
        self.barred = logprobs.new_zeros(size)
        self.barred[sorted(barred)] = -math.inf

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self._tokenizer.encode(text, add_special_tokens=False) if text else []

    def texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each sequence of tokens, special ones left out."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is not None:  # the same, without a look at every number
            return backend.decode_batch([list(row) for row in rows], skip_special_tokens=True)
        return self._tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def surfaces(self, term: str) -> dict[tuple[int, ...], bool]:
        """Return the token sequences that spell a term, and whether they bring a space.

        The term as it is, lower and Title, with and without a space before. Where a tokenizer sets words apart by
        itself the two are the same, and count as with a space.
        """
        if term not in self._surfaces:
            title = " ".join(word[:1].upper() + word[1:] for word in term.split(" "))
            spelled: dict[tuple[int, ...], bool] = {}
            for form in (term, term.lower(), title):
                for lead in (" ", ""):
                    spelled.setdefault(tuple(self.ids(lead + form)), bool(lead))
            self._surfaces[term] = {row: spaced for row, spaced in spelled.items() if row and self._known(row)}
        return self._surfaces[term]

    def wanted(self, clauses: tuple[Clause, ...]) -> Guide:
        """Return the guide to the terms that are wished for; prompts with the same clauses share it."""
        return self._guide(clauses, "wanted", lambda clause: clause.at_least > 0)

    def forbidden(self, clauses: tuple[Clause, ...]) -> Guide:
        """Return the guide to the terms that may occur a limited number of times, or never."""
        return self._guide(clauses, "forbidden", lambda clause: clause.at_most is not None)

    def _guide(self, clauses: tuple[Clause, ...], name: str, which: Callable[[Clause], bool]) -> Guide:
        if (name, clauses) not in self._guides:
            terms = [(i, term) for i, clause in enumerate(clauses) if which(clause) for term in clause.terms]
            found = [Surface(i, row, spaced) for i, term in terms for row, spaced in self.surfaces(term).items()]
            self._guides[name, clauses] = Guide(
                found, [token for token in self.ids(",")[-1:] if not self.barred[token]]
            )
        return self._guides[name, clauses]

    def _known(self, row: Sequence[int]) -> bool:
        return self._special.isdisjoint(row)

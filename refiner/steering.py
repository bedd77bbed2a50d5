"""Which tokens lead towards wanted terms: how terms are spelled, begun and continued. Heavy: imports torch."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from refiner.clauses import Clause

Path = tuple[tuple[int, int], ...]
"""Terms under way: (place in `Guide.surfaces`, tokens of it that the text ends with)."""


class Guide:
    """Knows which tokens begin and continue the wanted terms of some clauses.

    Attributes:
        surfaces: (clause, tokens) of each way to spell a term.
        tokens: all tokens that `towards` may return, sorted.
    """

    def __init__(self, surfaces: Sequence[tuple[int, tuple[int, ...]]], commas: Sequence[int]) -> None:
        self.surfaces = surfaces
        self.tokens = sorted({*commas, *(token for _, row in surfaces for token in row)})
        self._commas = list(commas)
        self._rows = [row for _, row in surfaces]
        self._begun: dict[int, list[int]] = {}
        self._starts: dict[int, set[int]] = {}
        for place, (clause, row) in enumerate(surfaces):
            self._begun.setdefault(row[0], []).append(place)
            self._starts.setdefault(clause, set()).add(row[0])

    def follow(self, path: Path, token: int) -> Path:
        """Return the terms under way after one more token."""
        rows = self._rows
        longer = [(s, m + 1) for s, m in path if rows[s][m] == token and m + 1 < len(rows[s])]
        return (*longer, *((s, 1) for s in self._begun.get(token, ()) if len(rows[s]) > 1))

    def under_way(self, path: Path, clauses: Collection[int]) -> int:
        """Return the clause, of these, whose term is furthest along, or -1."""
        shares = [(m / len(self.surfaces[s][1]), -self.surfaces[s][0]) for s, m in path]
        return -max((known for known in shares if -known[1] in clauses), default=(0.0, 1))[1]

    def towards(self, path: Path, clauses: Collection[int], begin: bool, logprobs: Mapping[int, float]) -> list[int]:
        """Return the tokens that lead towards a wanted term.

        Those that continue one; and for each clause the likeliest that begins one or, where none may `begin`, a comma.

        Args:
            path: terms under way.
            clauses: those that are still wanted.
            begin: whether terms may begin here.
            logprobs: of `tokens`; those that are missing may not follow.
        """
        continuing = [self.surfaces[s][1][m] for s, m in path if self.surfaces[s][0] in clauses]
        starts = [self._starts[clause] & logprobs.keys() for clause in clauses if clause in self._starts]
        if begin:
            continuing += [max(tokens, key=lambda token: (logprobs[token], -token)) for tokens in starts if tokens]
        elif starts:
            continuing += self._commas
        return [token for token in dict.fromkeys(continuing) if token in logprobs]


class Vocabulary:
    """What a tokenizer's tokens are to a search.

    Attributes:
        end: id of the end token, None without one.
        barred: (vocabulary,), -inf for tokens that only a wanted term may use, or none at all; else 0.
    """

    def __init__(self, tokenizer: Any, logprobs: torch.Tensor, blocked: str = "") -> None:
        self._tokenizer = tokenizer
        self._surfaces: dict[str, list[tuple[int, ...]]] = {}
        self._guides: dict[tuple[Clause, ...], Guide] = {}
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

    def surfaces(self, term: str) -> list[tuple[int, ...]]:
        """Return the token sequences that spell a term: as it is, lower and Title, with and without a space before."""
        if term not in self._surfaces:
            title = " ".join(word[:1].upper() + word[1:] for word in term.split(" "))
            spelled = (tuple(self.ids(lead + form)) for form in (term, term.lower(), title) for lead in (" ", ""))
            self._surfaces[term] = [row for row in dict.fromkeys(spelled) if row and self._special.isdisjoint(row)]
        return self._surfaces[term]

    def guide(self, clauses: tuple[Clause, ...]) -> Guide:
        """Return the guide of some clauses; prompts with the same ones share it."""
        if clauses not in self._guides:
            wanted = [(i, term) for i, clause in enumerate(clauses) if clause.at_least for term in clause.terms]
            surfaces = [(i, row) for i, term in wanted for row in self.surfaces(term)]
            self._guides[clauses] = Guide(surfaces, self.ids(",")[-1:])
        return self._guides[clauses]

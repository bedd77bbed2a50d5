"""What a user asks of a refined prompt: categories of style words, terms that must be in it, terms that must not.

The six categories are those of NeuroPrompts (2311.12229, section 2.2). The words are our own, in `categories.json`;
the artists among them died more than a century ago. Any file of the same form takes its place. Importing this module
costs nothing (no torch).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from core.errors import BadInput
from core.seeding import generator
from core.text import unique
from refiner.clauses import Clause, contains, must, must_not, occurrences

CATEGORIES_FILE = "categories.json"
CATEGORIES = ("style", "artist", "format", "booster", "vibe", "perspective")
AUTO = "auto"
"""In place of a term: any term of the category, whichever the model likes best."""

Categories = Mapping[str, tuple[str, ...]]
"""Terms by category."""


@dataclass(frozen=True)
class Wishes:
    """What a user asks for.

    Attributes:
        chosen: by category, terms of which one is wanted; `AUTO` stands for all terms of the category.
        must: terms that are all wanted.
        must_not: terms none of which may be produced; one that the user's prompt has may stay.
        per_category: terms drawn at random for each `AUTO`, as NeuroPrompts draws one; 0 = all, and the model chooses.
    """

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    per_category: int = 0

    def __post_init__(self) -> None:
        for category in self.chosen:
            _check_category(category, "--want")
        if self.per_category < 0:
            raise BadInput(f"per_category: got {self.per_category}, expected 0 or more; change it")

    def __bool__(self) -> bool:
        return bool(self.chosen or self.must or self.must_not)


def automatic(categories: Categories, per_category: int = 0) -> Wishes:
    """Return the wish for one term of each of these categories."""
    return Wishes(dict.fromkeys(categories, (AUTO,)), per_category=per_category)


def clauses(wishes: Wishes, categories: Categories, prompt: str = "", *, seed: int = 0) -> list[Clause]:
    """Return the clauses of a wish for a prompt: one a chosen category, one a term that must or must not occur.

    Raises:
        BadInput: an empty term, a wanted term that holds a forbidden one, or a category without a term that is left.
    """
    forbidden = unique(wishes.must_not)
    found = [
        must(*_terms(category, terms, categories, wishes, seed), label=category)
        for category, terms in wishes.chosen.items()
    ]
    found += [must(term) for term in unique(wishes.must)]
    for clause in found:
        if all(_holds(term, forbidden) for term in clause.terms):
            raise BadInput(
                f"constraint {clause.label} {', '.join(clause.terms)!r}: got terms that hold a forbidden one "
                f"({', '.join(forbidden)}), expected no contradiction; change --must-not"
            )
    return found + laws(wishes, prompt)


def laws(wishes: Wishes, prompt: str = "") -> list[Clause]:
    """Return the clauses of the terms that must not occur: none more often than in the user's own prompt."""
    found = [must_not(term) for term in unique(wishes.must_not)]
    return [replace(law, at_most=len(occurrences(law.terms, prompt))) for law in found]


def _terms(category: str, terms: Sequence[str], categories: Categories, wishes: Wishes, seed: int) -> list[str]:
    named = [term for term in terms if term != AUTO]
    if AUTO in terms:
        known = [term for term in categories.get(category, ()) if not _holds(term, wishes.must_not)]
        if not known:
            others = ", ".join(name for name in categories if name != category)
            raise BadInput(
                f"--want {category}={AUTO}: got a refiner with no such term to choose from, expected one of its "
                f"categories ({others}), or a term: --want {category}=TERM"
            )
        if 0 < wishes.per_category < len(known):
            drawn = generator(seed, "categories", category).choice(len(known), wishes.per_category, replace=False)
            known = [known[place] for place in sorted(drawn)]
        named += known
    return unique(named)


def _holds(term: str, forbidden: Sequence[str]) -> bool:
    return any(contains((other,), term) for other in forbidden if other.strip())


@dataclass(frozen=True)
class Satisfaction:
    """What became of one clause.

    Attributes:
        label: a category, `must` or `must not`.
        terms: its terms.
        found: those that occur in the text, whatever their case, as whole words.
        met: whether the clause is met.
    """

    label: str
    terms: tuple[str, ...]
    found: tuple[str, ...]
    met: bool


def satisfaction(text: str, wanted: Sequence[Clause]) -> list[Satisfaction]:
    """Return for each clause which of its terms a whole refined prompt holds (orders are not looked at)."""
    report = []
    for clause in wanted:
        found = tuple(term for term in clause.terms if contains((term,), text))
        met = bool(found) if clause.at_least else not found
        report.append(Satisfaction(clause.label, clause.terms, found, met))
    return report


def folder_categories(folder: Path) -> Categories:
    """Return a refiner's own terms, in its folder's `categories.json`; ours if it has none.

    Raises:
        BadInput: as `read_categories`.
    """
    own = folder / CATEGORIES_FILE
    return read_categories(own if own.is_file() else None)


def read_categories(path: Path | None = None) -> Categories:
    """Return the terms of a JSON file `{category: [term, ...]}`; without one, our own.

    Raises:
        BadInput: no such file, another form, or an unknown category.
    """
    source = files("refiner") / CATEGORIES_FILE if path is None else Path(path)
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{source}: got {error.strerror!r}, expected a file of categories; check the path") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source}: got a file that is not JSON ({error}), expected {{category: [terms]}}") from None
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{source}: got {type(content).__name__} {content!r:.40}, expected {{category: [terms]}}")
    for category, terms in content.items():
        _check_category(category, str(source))
        if not isinstance(terms, list) or not all(isinstance(term, str) and term.strip() for term in terms):
            raise BadInput(f"{source}: {category}: expected a list of terms, none of them empty; correct it")
    return {category: tuple(unique(term.strip() for term in terms)) for category, terms in content.items()}


def _check_category(category: str, where: str) -> None:
    if category not in CATEGORIES:
        raise BadInput(f"{where}: got the category {category!r}, expected one of {', '.join(CATEGORIES)}; change it")

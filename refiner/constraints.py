"""What a user asks of a refined prompt: categories of style words, terms that must be in it, terms that must not.

The six categories are those of NeuroPrompts (2311.12229, section 2.2). The words are our own, in `categories.json`;
the artists among them died more than a century ago. Any file of the same form takes its place, and one can be made
from a corpus (`categories_of`). Importing this module costs nothing (no torch).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from core.errors import BadInput
from core.seeding import generator
from core.text import content_words, phrases, unique
from refiner.clauses import Clause, contains, must, must_not, occurrences

CATEGORIES_FILE = "categories.json"
CATEGORIES = ("style", "artist", "format", "booster", "vibe", "perspective")
AUTO = "auto"
"""In place of a term: any term of the category, whichever the model likes best."""
UNKNOWN = "booster"
"""Category of a corpus's phrase that shares no word with any known term."""

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


def categories_of(
    prompts: Iterable[str], known: Categories | None = None, *, at_least: int = 5, most: int = 30
) -> Categories:
    """Return the terms of a corpus by category: what its prompts append to what they describe.

    The phrases behind the first comma are counted, once a prompt. A known term keeps its category. Any other phrase
    goes where most of the known terms are that share its last word, else any of its words; else to `UNKNOWN`. The
    result is a proposal: written to a file, it can be corrected by hand.

    Args:
        prompts: professional prompts.
        known: terms whose category is known; by default our own.
        at_least: prompts that a phrase must occur in.
        most: terms a category, the most frequent first.
    """
    known = read_categories() if known is None else known
    counts = Counter(phrase for prompt in prompts for phrase in unique(map(str.lower, phrases(prompt)[1:])))
    by_term = {term.lower(): category for category, terms in known.items() for term in terms}
    by_last, by_word = _word_votes(by_term)
    found: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for phrase, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count >= at_least:
            found[by_term.get(phrase) or _nearest(phrase, by_last, by_word)].append(phrase)
    return {category: tuple(terms[:most]) for category, terms in found.items() if terms}


Votes = Mapping[str, Counter[str]]


def _word_votes(by_term: Mapping[str, str]) -> tuple[Votes, Votes]:
    """Return, for each word, how many terms of each category end in it, and how many hold it."""
    last: dict[str, Counter[str]] = {}
    anywhere: dict[str, Counter[str]] = {}
    for term, category in by_term.items():
        told = content_words(term)
        for word in told:
            anywhere.setdefault(word, Counter())[category] += 1
        for word in told[-1:]:
            last.setdefault(word, Counter())[category] += 1
    return last, anywhere


def _nearest(phrase: str, by_last: Votes, by_word: Votes) -> str:
    told = content_words(phrase)
    for votes in ([by_last[word] for word in told[-1:] if word in by_last], [by_word[w] for w in told if w in by_word]):
        total: Counter[str] = sum(votes, Counter())
        if total:
            return min(total, key=lambda category: (-total[category], CATEGORIES.index(category)))
    return UNKNOWN

"""From wishes to clauses, what became of them, and categories from files and corpora."""

import json
from pathlib import Path

import pytest

from core.errors import BadInput
from refiner.clauses import must, must_not
from refiner.constraints import (
    AUTO,
    CATEGORIES,
    Wishes,
    automatic,
    clauses,
    read_categories,
    satisfaction,
)

KNOWN = {"style": ("cubism", "pop art"), "vibe": ("soft light", "moody", "warm light"), "format": ("oil painting",)}


def test_our_own_categories_are_six_and_share_no_term() -> None:
    known = read_categories()
    assert tuple(known) == CATEGORIES
    terms = [term.lower() for category in known for term in known[category]]
    assert len(set(terms)) == len(terms) >= 6 * 20
    assert sum("-" in term for term in terms) >= 8  # hyphens are no obstacle


def test_wishes_become_clauses() -> None:
    wishes = Wishes({"style": ("cubism",), "vibe": (AUTO,)}, must=("a red hat",), must_not=("soft", "hat stand"))
    assert clauses(wishes, KNOWN) == [
        must("cubism", label="style"),
        must("moody", "warm light", label="vibe"),  # "soft light" holds a forbidden word
        must("a red hat"),
        must_not("soft"),
        must_not("hat stand"),
    ]
    assert not Wishes()
    assert automatic(KNOWN).chosen == {"style": (AUTO,), "vibe": (AUTO,), "format": (AUTO,)}


def test_what_the_users_own_prompt_says_is_forbidden_beyond_that_only() -> None:
    found = clauses(Wishes(must_not=("cat", "oil   painting", "dog")), KNOWN, "a cat and a Cat, oil painting, category")
    assert [(law.terms, law.at_least, law.at_most) for law in found] == [
        (("cat",), 0, 2),
        (("oil   painting",), 0, 1),
        (("dog",), 0, 0),
    ]
    with pytest.raises(BadInput, match="expected terms that say something"):
        clauses(Wishes(must_not=(" ",)), KNOWN, "a cat")


def test_terms_are_drawn_by_seed() -> None:
    wishes = automatic(KNOWN, per_category=1)
    drawn = [clauses(wishes, KNOWN, seed=seed) for seed in (1, 1, 2, 3, 4, 5)]
    assert drawn[0] == drawn[1]
    assert all(len(clause.terms) == 1 for row in drawn for clause in row)
    assert len({clause.terms for row in drawn for clause in row if clause.label == "vibe"}) > 1


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(must=("black cat",), must_not=("cat",)), "hold a forbidden one"),
        (Wishes({"vibe": (AUTO,)}, must_not=("light", "moody")), "--want vibe=auto: .* expected one of"),
        (Wishes({"artist": (AUTO,)}), r"--want artist=auto: .*vibe.* --want artist=TERM"),
        (Wishes(must=(" ",)), "expected terms that say something"),
    ],
)
def test_contradictions_are_refused(wishes: Wishes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        clauses(wishes, KNOWN)


def test_unknown_categories_are_refused() -> None:
    with pytest.raises(BadInput, match="got the category 'mood', expected one of style, artist"):
        Wishes({"mood": ("dark",)})


def test_satisfaction_looks_at_words_whatever_their_case() -> None:
    wanted = [must("oil painting", "cubism", label="style"), must("ukiyo-e"), must_not("cat"), must_not("boat")]
    report = satisfaction("A category of Oil  Painting, Ukiyo-E, a boat", wanted)
    assert [(row.met, row.found) for row in report] == [
        (True, ("oil painting",)),
        (True, ("ukiyo-e",)),
        (True, ()),
        (False, ("boat",)),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected {category"),
        ("{", "not JSON"),
        ('{"mood": ["a"]}', "got the category 'mood'"),
        ('{"vibe": "moody"}', "vibe: expected a list of terms"),
        ('{"vibe": [""]}', "vibe: expected a list of terms"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=message):
        read_categories(path)
    with pytest.raises(BadInput, match="check the path"):
        read_categories(tmp_path / "none.json")


def test_a_user_may_bring_categories(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"vibe": ["spooky ", "spooky"]}))
    assert read_categories(path) == {"vibe": ("spooky",)}

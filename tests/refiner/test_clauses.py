"""Judging texts against clauses: words, upper bounds, order, and the end of a text that may go on."""

import random

import pytest

from core.errors import BadInput
from refiner.clauses import Clause, Judge, contains, must, must_not, occurrences


@pytest.mark.parametrize(
    ("term", "text", "times"),
    [
        ("cat", "Cat, a cat; category, concat, CAT-like", 3),
        ("oil painting", "oil  painting, oil\n\t    painting, oilpainting", 2),
        ("ukiyo-e", "Ukiyo-e print, ukiyo e", 1),
        ("1/2", "f1/2, 1/25, 1/2", 1),
        ("猫", "黑猫在海边，猫", 2),
        ("café", "CAFÉ, cafés, café", 2),
        ("c++", "c++ and c++11", 2),  # no letter at its end, so nothing must follow
        ("a a", "a a a", 2),
    ],
)
def test_a_term_occurs_where_its_words_stand_alone(term: str, text: str, times: int) -> None:
    assert len(occurrences((term,), text)) == times
    assert contains((term,), text) is (times > 0)


def test_terms_of_one_clause_that_begin_together_count_once() -> None:
    assert occurrences(("oil", "oil painting"), "oil painting") == [(0, 3)]


def test_an_upper_bound_is_broken_only_when_the_last_word_is_over() -> None:
    judge = Judge([must_not("cat", "big dog")])
    open_end, over, grown = (judge.verdict(text) for text in ("a cat", "a cat,", "a category"))
    assert (open_end.doubtful, open_end.broken, open_end.met) == (True, False, (False,))
    assert (over.doubtful, over.broken) == (False, True)
    assert (grown.doubtful, grown.broken, grown.met) == (False, False, (True,))
    assert judge.verdict("a cat \ufffd").broken  # bytes of an unfinished character say nothing yet
    assert judge.verdict("a cat\ufffd").doubtful


def test_what_the_prefix_says_counts_and_cannot_be_unsaid() -> None:
    judge = Judge([must("cat"), must_not("dog")], "a cat and a dog,")
    assert judge.verdict("a cat and a dog, oil").met == (True, True)
    assert judge.verdict("a cat and a dog, a dog,").broken
    spaced = Judge([must_not("dog")], "a cat \t         and a dog,")
    assert spaced.verdict("a cat \t         and a dog, oil").met == (True,)
    assert spaced.verdict("a cat \t         and a dog, dog,").broken


def test_ordered_clauses_are_met_one_after_the_other() -> None:
    clauses = [Clause(("b",), order=2), Clause(("a",), order=1), Clause(("c",))]
    judge = Judge(clauses)
    assert judge.verdict("a, b").met == (True, True, False)
    assert judge.verdict("b, a").met == (False, True, False)
    assert judge.verdict("b, c").met == (False, False, True)
    assert judge.verdict("b, a, b").met == (True, True, False)
    assert judge.wanted((False, False, False)) == [1, 2]
    assert judge.wanted((False, True, True)) == [0]


def test_counts() -> None:
    judge = Judge([Clause(("a",), at_least=2, at_most=2)])
    assert [judge.verdict(text).met[0] for text in ("a", "a a", "a a a")] == [False, True, False]
    assert judge.verdict("a a a.").broken


def test_judging_step_by_step_is_judging_at_once() -> None:
    rng = random.Random(0)  # noqa: S311
    pieces = ["cat", "egory", " ", "oil", "      ", "\n", "painting", ",", "é", "\ufffd", "A", "猫", "-"]
    clauses = [must("oil painting", "cat"), must_not("painting", "a"), Clause(("猫", "cat"), 0, 2), must("cat-oil")]
    for _ in range(40):
        judge, text, verdict = Judge(clauses), "", None
        for piece in rng.choices(pieces, k=12):
            text = text.rstrip("\ufffd") + piece
            verdict = judge.verdict(text, verdict)
            assert verdict == judge.verdict(text)


@pytest.mark.parametrize(
    "wrong",
    [{"terms": ()}, {"terms": (" ",)}, {"terms": ("a",), "at_least": -1}, {"terms": ("a",), "at_most": 0},
     {"terms": ("a",), "order": -1}],
)  # fmt: skip
def test_a_clause_that_says_nothing_is_refused(wrong: dict) -> None:
    with pytest.raises(BadInput, match="constraint"):
        Clause(**wrong)

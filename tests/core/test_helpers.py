"""Small pure helpers: text, digests, seeds."""

import pytest

from core.seeding import derive_seed, generator
from core.text import content_words, digest, ngrams, phrases, stable_json


def test_phrases_are_split_at_commas_and_stripped() -> None:
    assert phrases("a cat,  soft light ,, sharp focus.") == ["a cat", "soft light", "sharp focus"]


def test_content_words_leave_out_little_words_and_case() -> None:
    assert content_words("A Cat's hat in the Snow-storm") == ["cat's", "hat", "snow-storm"]


def test_ngrams() -> None:
    assert ngrams("a b c", 2) == {("a", "b"), ("b", "c")}
    assert ngrams("a", 2) == set()


def test_digests_ignore_the_order_of_keys_and_refuse_nan() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        stable_json(float("nan"))


def test_seeds_are_functions_of_their_parts_in_order() -> None:
    assert derive_seed(1, "a") == derive_seed(1, "a") != derive_seed("a", 1)
    assert 0 <= derive_seed("x") < 2**31
    assert derive_seed("ab", "c") != derive_seed("a", "bc")
    assert generator(1, "x").integers(10**9) == generator(1, "x").integers(10**9)

"""Scenes, splits, captions and parsing."""

from collections import Counter
from itertools import product

import pytest

from miniworld.grammar import Scene, describe, draw_prompts, holdout_prompts, naive_prompts, parse, split_of, triples
from miniworld.vocabulary import (
    COLOURS,
    DECOY_TERMS,
    FAMILIES,
    FAMILY_TERMS,
    FILLERS,
    GENERAL_TERMS,
    HARMFUL_TERMS,
    PLACES,
    SUBJECTS,
    TERMS,
)


def test_the_world_is_as_large_as_promised():
    assert len(SUBJECTS) >= 10
    assert len(COLOURS) >= 8
    assert len(PLACES) >= 6
    assert FAMILIES == ("anime", "concept-art", "paintings", "photo")
    assert len(set(TERMS)) == len(TERMS) >= 24
    assert all(2 <= len(FAMILY_TERMS[family]) <= 3 for family in FAMILIES)
    assert len(HARMFUL_TERMS) >= 6
    grouped = [*GENERAL_TERMS, *(t for terms in FAMILY_TERMS.values() for t in terms), *HARMFUL_TERMS, *DECOY_TERMS]
    assert sorted(grouped) == sorted(TERMS)
    assert not set(FILLERS) & set(TERMS)


def test_splits_are_disjoint_and_cover_everything():
    parts = [set(triples(split)) for split in ("train", "validation", "test")]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert len(parts[0] | parts[1] | parts[2]) == len(SUBJECTS) * len(COLOURS) * len(PLACES)
    assert len(parts[2]) == 60


@pytest.mark.parametrize("left", [0, 1, 2])
def test_every_pair_of_values_is_known_from_train(left):
    words = [SUBJECTS, COLOURS, PLACES]
    right = (left + 1) % 3
    seen = {(triple[left], triple[right]) for triple in triples("train")}
    assert seen == set(product(words[left], words[right]))


def test_at_least_a_thousand_holdout_prompts():
    everything = naive_prompts("test")
    assert len({item.prompt for item in everything}) == len(everything) >= 1000


def test_holdout_prompts_are_fresh_balanced_and_reproducible():
    first, again, other = holdout_prompts(0, 160), holdout_prompts(0, 160), holdout_prompts(1, 160)
    assert first == again
    assert first != other
    assert all(split_of(item.scene.triple) == "test" for item in first)
    assert set(Counter(item.family for item in first).values()) == {40}
    assert len({item.scene for item in first}) == 160
    assert len({item.prompt for item in holdout_prompts(3, 1000)}) == 1000


def test_too_many_prompts_are_refused():
    with pytest.raises(ValueError, match="expected at most"):
        draw_prompts("test", 0, 10**6)


def test_every_naive_prompt_is_parsed_back():
    for split in ("train", "validation", "test"):
        assert all(parse(item.prompt) == item.scene for item in naive_prompts(split))


def test_naive_prompts_name_the_style_and_carry_no_term():
    for item in naive_prompts("validation"):
        assert not any(term in item.prompt for term in (*TERMS, *FILLERS))


def test_a_rewritten_prompt_is_parsed_with_its_terms_in_order():
    text = "Sharp focus, an anime image of a RED cat\n in a forest with cel shading and xyzzy, 8k"
    assert parse(text) == Scene("cat", "red", "forest", "anime", ("sharp focus", "cel shading", "8k"))


@pytest.mark.parametrize(
    "text", ["", "a cat", "a red cat in a forest", "a red dog in a forest, anime", "highly detailed"]
)
def test_text_without_a_scene_is_not_parsed(text):
    assert parse(text) is None


def test_a_style_word_may_go_on():
    scene = parse("photograph of a red cat at night")
    assert scene is not None
    assert scene.family == "photo"


def test_describe_varies_the_wording_of_one_scene():
    scene = Scene("boat", "orange", "sea", "concept-art")
    texts = {describe(scene, template, place) for template in range(6) for place in range(2)}
    assert len(texts) == 12
    assert all("orange boat" in text and "concept art" in text for text in texts)

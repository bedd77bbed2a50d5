"""The annotator: signs of its taste, on renders."""

import numpy as np
import pytest

from miniworld.grammar import draw_prompts
from miniworld.renderer import render
from miniworld.statistics import STATISTICS, edge_energy, measure
from miniworld.truth import preference_probability, taste_scores, to_array, truth_scores
from miniworld.vocabulary import DECOY_TERMS, FAMILIES, FAMILY_TERMS, GENERAL_TERMS, HARMFUL_TERMS

PROMPTS = {family: [p for p in draw_prompts("train", 0, 48) if p.family == family] for family in FAMILIES}


def taste(family: str, terms: tuple[str, ...]) -> np.ndarray:
    images = [render(p.scene.with_terms(terms), np.random.default_rng(k)) for k, p in enumerate(PROMPTS[family])]
    return taste_scores(to_array(images), [family] * len(images))


@pytest.fixture(scope="module")
def naive() -> dict[str, np.ndarray]:
    return {family: taste(family, ()) for family in FAMILIES}


def gain(naive: dict[str, np.ndarray], family: str, *terms: str) -> float:
    return float((taste(family, terms) - naive[family]).mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_general_terms_help_everywhere(naive, family):
    assert all(gain(naive, family, term) > 0 for term in GENERAL_TERMS)


@pytest.mark.parametrize("family", FAMILIES)
def test_own_terms_help_more_than_other_families_terms(naive, family):
    own = [gain(naive, family, term) for term in FAMILY_TERMS[family]]
    others = [gain(naive, family, term) for other in FAMILIES if other != family for term in FAMILY_TERMS[other]]
    assert min(own) > 0.1
    assert np.mean(others) < 0
    assert max(others) < max(own)


@pytest.mark.parametrize("family", FAMILIES)
def test_harmful_terms_and_decoys_hurt(naive, family):
    assert all(gain(naive, family, term) < 0 for term in (*HARMFUL_TERMS, *DECOY_TERMS))


@pytest.mark.parametrize("family", FAMILIES)
def test_nine_good_terms_are_below_three(naive, family):
    three = ("sharp focus", "high contrast", FAMILY_TERMS[family][1])
    assert gain(naive, family, *GENERAL_TERMS, *FAMILY_TERMS[family], "8k", "elegant") < gain(naive, family, *three)


def test_truth_refuses_what_it_does_not_know():
    image = render(PROMPTS["photo"][0].scene, np.random.default_rng(0))
    with pytest.raises(ValueError, match="miniworld words"):
        truth_scores([image], ["a dog on the moon"])
    assert truth_scores([], []) == []


def test_the_wrong_subject_costs_truth():
    prompts = PROMPTS["anime"][:8]
    images = [render(p.scene, np.random.default_rng(k)) for k, p in enumerate(prompts)]
    right = truth_scores(images, [p.prompt for p in prompts])
    texts = [p.prompt.replace(p.scene.subject, "car" if p.scene.subject != "car" else "cat") for p in prompts]
    wrong = truth_scores(images, texts)
    assert np.mean(right) > np.mean(wrong) + 0.5


def test_statistics_have_one_column_each_and_edges_see_blur():
    scene = PROMPTS["photo"][0].scene
    sharp, soft = (
        to_array([render(scene.with_terms((term,)), np.random.default_rng(0))]) for term in ("sharp focus", "blurry")
    )
    assert measure(sharp).shape == (1, len(STATISTICS))
    assert edge_energy(sharp)[0] > edge_energy(soft)[0]


def test_preference_is_a_probability_symmetric_in_the_pictures():
    assert preference_probability(1.0, 1.0) == 0.5
    assert preference_probability(2.0, 0.5) + preference_probability(0.5, 2.0) == pytest.approx(1)
    assert preference_probability(1e6, 0) == 1.0

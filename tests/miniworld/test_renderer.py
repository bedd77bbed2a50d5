"""What the renderer draws, and what each term does to it."""

import numpy as np
import pytest

from miniworld.effects import SIZE, blur, texture
from miniworld.grammar import Scene
from miniworld.renderer import dilution, render
from miniworld.subjects import BODY_COLOURS, DRAW
from miniworld.vocabulary import COLOURS, FAMILIES, FAMILY_TERMS, GENERAL_TERMS, PLACES, SUBJECTS, TERMS

VISIBLE = 2.0
"""Least mean difference per channel value (0-255) that a term makes on average."""


def pixels(scene: Scene, seed: int = 0) -> np.ndarray:
    return np.asarray(render(scene, np.random.default_rng(seed)), dtype=float)


def scenes(family: str) -> list[Scene]:
    return [Scene(SUBJECTS[k], COLOURS[k % 8], PLACES[k % 6], family) for k in range(6)]


def test_the_same_seed_draws_the_same_picture():
    scene = Scene("cat", "red", "forest", "anime", ("sharp focus",))
    assert (pixels(scene, 3) == pixels(scene, 3)).all()
    assert (pixels(scene, 3) != pixels(scene, 4)).any()


def test_every_value_can_be_drawn():
    assert set(DRAW) == set(SUBJECTS)
    assert set(BODY_COLOURS) == set(COLOURS)
    for family in FAMILIES:
        for place in PLACES:
            picture = pixels(Scene("house", "blue", place, family))
            assert picture.shape == (SIZE, SIZE, 3)
            assert picture.std() > 10


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_visible_in_every_family(term):
    for family in FAMILIES:
        changes = [abs(pixels(s.with_terms((term,)), k) - pixels(s, k)).mean() for k, s in enumerate(scenes(family))]
        assert np.mean(changes) > VISIBLE / (2 if term in ("soft shadow", "shallow depth of field", "blurry") else 1)


def test_fillers_and_unknown_words_change_nothing():
    scene = Scene("car", "green", "city", "photo")
    assert (pixels(scene.with_terms(("8k", "elegant"))) == pixels(scene)).all()


def test_dilution_starts_above_five_terms():
    assert dilution(0) == dilution(5) == (1.0, 0.0)
    strengths, muddles = zip(*(dilution(count) for count in range(5, 13)), strict=True)
    assert list(strengths) == sorted(strengths, reverse=True)
    assert len(set(strengths)) == len(strengths)
    assert list(muddles) == sorted(muddles)
    assert muddles[-1] == 1.0


def test_nine_terms_are_softer_than_three():
    for family in FAMILIES:
        nine = (*GENERAL_TERMS, *FAMILY_TERMS[family], "8k", "elegant")
        for k, scene in enumerate(scenes(family)):
            few, many = (pixels(scene.with_terms(terms), k) for terms in (("sharp focus", "high contrast"), nine))
            assert abs(np.diff(many, axis=1)).mean() < abs(np.diff(few, axis=1)).mean()


def test_textures_are_fixed_and_standardised():
    for name in ("strokes", "weave", "grain"):
        assert texture(name) is texture(name)
        assert abs(texture(name).mean()) < 1e-3
        assert abs(texture(name).std() - 1) < 1e-3


def test_blur_keeps_a_flat_picture_flat():
    flat = np.full((3, SIZE, SIZE), 0.4, dtype=np.float32)
    assert np.allclose(blur(flat, 2.0), 0.4, atol=1e-5)

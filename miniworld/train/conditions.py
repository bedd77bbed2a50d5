"""The sets of terms that pictures are measured with."""

from __future__ import annotations

import itertools

import numpy as np

from miniworld.grammar import NaivePrompt, draw_prompts
from miniworld.renderer import render
from miniworld.train.stages import Workspace
from miniworld.truth import scene_scores
from miniworld.vocabulary import FAMILIES, FAMILY_TERMS, GENERAL_TERMS, TERMS

HARMFUL_SET: tuple[str, ...] = ("blurry", "dull colors", "grainy")
ROWS = ("naive", "three good", "three harmful", "nine terms")
"""The conditions of the contact sheet."""
_CANDIDATES = 7
_TUNING_SCENES = 16

Terms = tuple[str, ...]


def best_sets(space: Workspace) -> dict[str, Terms]:
    """Each family's best three terms by truth, chosen with the renderer on validation scenes."""
    chosen: dict[str, Terms] = {}
    for family in FAMILIES:
        prompts = [p for p in draw_prompts("validation", space.seed("sets"), 4 * _TUNING_SCENES) if p.family == family]
        ranked = sorted(TERMS, key=lambda term: -_rendered_truth(prompts, (term,)))
        triples = list(itertools.combinations(ranked[:_CANDIDATES], 3))
        chosen[family] = max(triples, key=lambda terms: _rendered_truth(prompts, terms))
    return chosen


def _rendered_truth(prompts: list[NaivePrompt], terms: Terms) -> float:
    scenes = [prompt.scene.with_terms(terms) for prompt in prompts]
    pictures = [render(scene, np.random.default_rng(k)) for k, scene in enumerate(scenes)]
    return float(np.mean(scene_scores(pictures, scenes)))


def nine_terms(family: str) -> Terms:
    """All seven terms that help a family, and two popular words that do nothing: only their number is against them."""
    return (*GENERAL_TERMS, *FAMILY_TERMS[family], "8k", "beautiful")


def conditions(family: str, sets: dict[str, Terms]) -> dict[str, Terms]:
    """What a prompt of a family is measured with: the contact sheet's rows and every family's best set."""
    return {
        "naive": (),
        "three good": sets[family],
        "three harmful": HARMFUL_SET,
        "nine terms": nine_terms(family),
        **{f"set of {other}": sets[other] for other in FAMILIES},
    }

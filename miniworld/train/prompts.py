"""The prompt files: naive prompts per split, and a corpus of professional prompts.

The corpus is what people would share: good terms and their family's own, but also popular words that do nothing or
little harm, some harmful terms, and some prompts that are far too long. How often a term occurs says little about its
benefit.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from miniworld.grammar import Scene, describe, draw_prompts, triples
from miniworld.train.stages import Workspace
from miniworld.vocabulary import DECOY_TERMS, FAMILIES, FAMILY_TERMS, FILLERS, GENERAL_TERMS, HARMFUL_TERMS

TRAIN, VALIDATION, CORPUS = 240, 120, 2200
_POPULARITY: dict[str, float] = {
    "8k": 9.0,
    "trending on artstation": 9.0,
    "masterpiece": 8.0,
    "highly detailed": 7.0,
    "octane render": 5.0,
    "sharp focus": 4.0,
    "digital illustration": 4.0,
    "unreal engine": 4.0,
    "vibrant colors": 3.0,
    "high contrast": 2.0,
}
"""Relative frequency of popular words; see ``_weight`` for the others."""


def _weight(term: str, family: str) -> float:
    if term in _POPULARITY:
        return _POPULARITY[term]
    if term in FAMILY_TERMS[family]:
        return 4.0
    if term in HARMFUL_TERMS:
        return 0.5
    return 1.5 if term in FILLERS else 0.4


def professional_prompt(rng: np.random.Generator) -> str:
    """Draw one professional prompt of a scene that is not reserved for test."""
    allowed = triples("train")
    family = FAMILIES[int(rng.integers(len(FAMILIES)))]
    scene = Scene(*allowed[int(rng.integers(len(allowed)))], family)
    pool = [
        *GENERAL_TERMS,
        *DECOY_TERMS,
        *FILLERS,
        *HARMFUL_TERMS,
        *(term for terms in FAMILY_TERMS.values() for term in terms),
    ]
    weights = np.array([_weight(term, family) for term in pool])
    count = int(rng.integers(2, 7)) if rng.random() < 0.85 else int(rng.integers(7, 13))
    picked = rng.choice(len(pool), size=count, replace=False, p=weights / weights.sum())
    plain = describe(scene, int(rng.integers(6)), int(rng.integers(2)))
    return ", ".join((plain, *(pool[index] for index in picked)))


def corpus(seed: int, count: int = CORPUS) -> list[str]:
    """Draw a corpus of distinct professional prompts."""
    rng = np.random.default_rng(seed)
    prompts: dict[str, None] = {}
    while len(prompts) < count:
        prompts.setdefault(professional_prompt(rng))
    return list(prompts)


def run(space: Workspace) -> dict[str, Any]:
    """Write train.jsonl, validation.jsonl and corpus.txt."""
    for split, count in (("train", TRAIN), ("validation", VALIDATION)):
        items = draw_prompts(split, space.seed("prompts"), count)
        lines = [json.dumps({"prompt": item.prompt, "family": item.family}) for item in items]
        space.path(f"prompts/{split}.jsonl").write_text("\n".join(lines) + "\n")
    space.path("prompts/corpus.txt").write_text("\n".join(corpus(space.seed("corpus"))) + "\n")
    return {"train": TRAIN, "validation": VALIDATION, "corpus": CORPUS}

"""The training set, pictures with captions as on the web.

Captions carry the terms that say how the picture was made, in any order and mixed with words that say nothing; plain
captions go with pictures of mixed, mostly mediocre quality; some effects are not mentioned. No scene with a test
triple is drawn.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miniworld.effects import SIZE
from miniworld.grammar import Scene, caption, triples
from miniworld.renderer import render
from miniworld.train.stages import Workspace
from miniworld.vocabulary import DECOY_TERMS, FAMILIES, FAMILY_TERMS, FILLERS, GENERAL_TERMS, HARMFUL_TERMS

COUNT = 120_000
SHARD = 2_000
UNMENTIONED = 0.12
"""Share of pictures with an effect that the caption leaves out."""
_MOODS: tuple[tuple[float, dict[str, float]], ...] = (
    (0.45, {"general": 2.5, "own": 4.0, "other": 0.3, "harmful": 0.2, "decoy": 1.2, "filler": 0.4}),
    (0.35, {"general": 1.0, "own": 1.5, "other": 1.0, "harmful": 1.0, "decoy": 1.0, "filler": 1.0}),
    (0.20, {"general": 0.2, "own": 0.3, "other": 0.2, "harmful": 4.0, "decoy": 0.5, "filler": 0.5}),
)
"""(share of captions, weight of each group of terms): careful makers, careless ones, and poor pictures."""


@dataclass(frozen=True)
class RenderSet:
    """The training set in memory.

    Attributes:
        images: uint8, shape (n, 64, 64, 3).
        captions: One text per image.
        scenes: What each image shows.
    """

    images: NDArray[np.uint8]
    captions: list[str]
    scenes: list[Scene]


def choose_terms(family: str, rng: np.random.Generator, *, count: int | None = None) -> tuple[str, ...]:
    """Draw the terms of a caption.

    Args:
        family: Style family, whose own terms are likelier.
        rng: Source of randomness.
        count: How many terms; drawn as on the web when not given (none 25 %, 1-5 57 %, 6-10 18 %).
    """
    if count is None:
        kind = rng.random()
        count = 0 if kind < 0.25 else int(rng.integers(1, 6)) if kind < 0.82 else int(rng.integers(6, 11))
    mood = _MOODS[int(rng.choice(len(_MOODS), p=[share for share, _ in _MOODS]))][1]
    groups = {
        "general": GENERAL_TERMS,
        "own": FAMILY_TERMS[family],
        "other": tuple(term for other in FAMILIES if other != family for term in FAMILY_TERMS[other]),
        "harmful": HARMFUL_TERMS,
        "decoy": DECOY_TERMS,
        "filler": FILLERS,
    }
    pool = [(term, mood[group]) for group, terms in groups.items() for term in terms]
    weights = np.array([weight for _, weight in pool])
    picked = rng.choice(len(pool), size=count, replace=False, p=weights / weights.sum())
    return tuple(pool[index][0] for index in picked)


def draw_scene(rng: np.random.Generator, *, count: int | None = None) -> Scene:
    """Draw a scene with terms from the triples that are not reserved for test."""
    allowed = triples("train", "validation")
    family = FAMILIES[int(rng.integers(len(FAMILIES)))]
    return Scene(*allowed[int(rng.integers(len(allowed)))], family, choose_terms(family, rng, count=count))


def _draw_shard(arguments: tuple[int, int]) -> tuple[NDArray[np.uint8], list[str], list[list[Any]]]:
    seed, count = arguments
    rng = np.random.default_rng(seed)
    images = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    captions, scenes = [], []
    for index in range(count):
        scene = draw_scene(rng)
        images[index] = np.asarray(render(scene, rng, unmentioned=UNMENTIONED))
        captions.append(caption(scene, rng))
        scenes.append([scene.subject, scene.colour, scene.place, scene.family, list(scene.terms)])
    return images, captions, scenes


def run(space: Workspace) -> dict[str, Any]:
    """Draw the training set on two processes."""
    shards = max(1, space.amount(COUNT) // SHARD)
    size = min(SHARD, space.amount(COUNT))
    images = np.lib.format.open_memmap(
        space.path("renders/images.npy"), mode="w+", dtype=np.uint8, shape=(shards * size, SIZE, SIZE, 3)
    )
    captions: list[str] = []
    scenes: list[list[Any]] = []
    jobs = [(space.seed("renders") * 1000 + shard, size) for shard in range(shards)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for shard, (pixels, texts, what) in enumerate(pool.map(_draw_shard, jobs)):
            images[shard * size : (shard + 1) * size] = pixels
            captions += texts
            scenes += what
    images.flush()
    space.path("renders/captions.json").write_text(json.dumps({"captions": captions, "scenes": scenes}))
    return {"renders": len(captions)}


def load_renders(space: Workspace) -> RenderSet:
    """Map the training set into memory."""
    texts = json.loads(space.path("renders/captions.json").read_text())
    scenes = [
        Scene(subject, colour, place, family, tuple(terms)) for subject, colour, place, family, terms in texts["scenes"]
    ]
    images = np.load(space.path("renders/images.npy"), mmap_mode="r")
    return RenderSet(images, texts["captions"], scenes)


def to_unit(images: np.ndarray) -> Tensor:
    """uint8 (n, 64, 64, 3) to float32 in [-1, 1], shape (n, 3, 64, 64)."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1

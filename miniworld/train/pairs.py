"""Stage 7: preference pairs, labelled with noise by the annotator.

Both pictures of a pair answer the same naive prompt. Half of the pairs are renders, half the pipeline's own pictures,
so that the preference model has seen what it will be optimised against.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from miniworld import PIPELINE
from miniworld.grammar import Scene, caption, triples
from miniworld.judge import load_judge
from miniworld.train.export import RENDER_DEFAULTS, export_pipeline
from miniworld.train.generate import draw, load_pipeline
from miniworld.train.renders import choose_terms, load_renders
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint
from miniworld.truth import preference_probability, scene_scores
from miniworld.vocabulary import COLOURS, FAMILIES, PLACES, SUBJECTS

RENDERS = 40_000
SCENES, PER_SCENE = 600, 8
HELD_OUT_SCENES = 100
PAIRS, HELD_OUT_PAIRS = 90_000, 4_000
_CHUNK = 400


@dataclass(frozen=True)
class Gallery:
    """Pictures with what they were made for.

    Attributes:
        images: uint8, shape (n, 64, 64, 3).
        scenes: Index of the naive scene, see ``scene_of``, shape (n,).
        captions: The text each picture was made from.
        truth: The annotator's value for its own scene, shape (n,).
    """

    images: Tensor
    scenes: Tensor
    captions: list[str]
    truth: Tensor


def scene_index(scene: Scene) -> int:
    """A number for (subject, colour, place, family)."""
    number = SUBJECTS.index(scene.subject)
    for words, value in ((COLOURS, scene.colour), (PLACES, scene.place), (FAMILIES, scene.family)):
        number = number * len(words) + words.index(value)
    return number


def scene_of(index: int) -> Scene:
    """The inverse of ``scene_index``; no terms."""
    index, family = divmod(index, len(FAMILIES))
    index, place = divmod(index, len(PLACES))
    subject, colour = divmod(index, len(COLOURS))
    return Scene(SUBJECTS[subject], COLOURS[colour], PLACES[place], FAMILIES[family])


def render_gallery(space: Workspace, *, held_out: bool) -> Gallery:
    """Renders with their truth: the first ones for training, the last ones held out."""
    renders = load_renders(space)
    count = min(space.amount(RENDERS), len(renders.captions) // 2)
    part = slice(len(renders.captions) - min(4000, count), None) if held_out else slice(0, count)
    scenes = renders.scenes[part]
    pixels = np.array(renders.images[part])
    pictures = [Image.fromarray(image) for image in pixels]
    judge = load_judge(space.path("judge"))
    truth = [
        value
        for i in range(0, len(scenes), 2000)
        for value in scene_scores(pictures[i : i + 2000], scenes[i : i + 2000], judge)
    ]
    indices = torch.tensor([scene_index(scene) for scene in scenes])
    return Gallery(torch.from_numpy(pixels), indices, renders.captions[part], torch.tensor(truth))


def drawn_gallery(space: Workspace) -> Gallery:
    """The pipeline's own pictures: each scene with several sets of terms, half of them from one shared seed."""
    rng = np.random.default_rng(space.seed("pairs"))
    allowed = triples("train", "validation")
    scenes, texts, seeds = [], [], []
    for _ in range(space.amount(SCENES, least=4)):
        family = FAMILIES[int(rng.integers(len(FAMILIES)))]
        scene = Scene(*allowed[int(rng.integers(len(allowed)))], family)
        for k in range(PER_SCENE):
            terms = (
                ()
                if k == 0
                else choose_terms(family, rng, count=int(rng.integers(1, 6)) if k < 6 else int(rng.integers(6, 11)))
            )
            scenes.append(scene)
            texts.append(caption(scene.with_terms(terms), rng))
            seeds.append(int(rng.integers(2**31)) if k % 2 else len(scenes) - k)
    export_pipeline(space, space.shipped(PIPELINE))
    images = _draw_all(space, texts, seeds)
    judge = load_judge(space.path("judge"))
    truth = scene_scores([Image.fromarray(image) for image in images.numpy()], scenes, judge)
    return Gallery(images, torch.tensor([scene_index(scene) for scene in scenes]), texts, torch.tensor(truth))


def _draw_all(space: Workspace, texts: list[str], seeds: list[int]) -> Tensor:
    file, pulse = space.path("drawn.pt"), Pulse()
    state = load_checkpoint(file) or {"images": torch.empty(0, 64, 64, 3, dtype=torch.uint8)}
    images, pipeline = state["images"], load_pipeline(space.shipped(PIPELINE))
    for start in range(len(images), len(texts), _CHUNK):
        stop = start + _CHUNK
        fresh = draw(pipeline, texts[start:stop], seeds[start:stop], **RENDER_DEFAULTS)
        images = torch.cat([images, torch.from_numpy(np.stack([np.asarray(image) for image in fresh]))])
        if pulse.beat() or stop >= len(texts):
            save_checkpoint(file, {"images": images})
    return images


def choose_pairs(gallery: Gallery, count: int, rng: np.random.Generator) -> Tensor:
    """Draw pairs of pictures made for the same scene, and label each once, with noise.

    Args:
        gallery: Pictures of one kind.
        count: Number of pairs.
        rng: Source of randomness.

    Returns:
        int64, shape (count, 2): (preferred, other).
    """
    groups = defaultdict(list)
    for row, scene in enumerate(gallery.scenes.tolist()):
        groups[scene].append(row)
    usable = [rows for rows in groups.values() if len(rows) > 1]
    weights = np.array([len(rows) for rows in usable], dtype=float)
    pairs = []
    for group in rng.choice(len(usable), size=count, p=weights / weights.sum()):
        first, second = rng.choice(usable[int(group)], size=2, replace=False).tolist()
        wins = rng.random() < preference_probability(gallery.truth[first].item(), gallery.truth[second].item())
        pairs.append((first, second) if wins else (second, first))
    return torch.tensor(pairs)


def bayes_limit(gallery: Gallery, pairs: Tensor) -> float:
    """The best possible accuracy on noisy labels: the mean probability of the likelier one."""
    values = gallery.truth[pairs]
    chances = [preference_probability(first, second) for first, second in values.tolist()]
    return float(np.mean([max(p, 1 - p) for p in chances]))


def run(space: Workspace) -> dict[str, Any]:
    """Collect galleries and pairs and write them."""
    rng = np.random.default_rng(space.seed("labels"))
    drawn = drawn_gallery(space)
    border = len(drawn.captions) - space.amount(HELD_OUT_SCENES, least=2) * PER_SCENE
    galleries = {
        "renders": render_gallery(space, held_out=False),
        "drawn": _part(drawn, slice(0, border)),
        "held_out_renders": render_gallery(space, held_out=True),
        "held_out_drawn": _part(drawn, slice(border, None)),
    }
    content: dict[str, Any] = {}
    figures: dict[str, Any] = {"drawn": len(drawn.captions)}
    for name, gallery in galleries.items():
        wanted = HELD_OUT_PAIRS if name.startswith("held_out") else space.amount(PAIRS) // 2
        pairs = choose_pairs(gallery, wanted, rng)
        content[name] = {**gallery.__dict__, "pairs": pairs}
        figures[name] = {"pairs": len(pairs), "bayes_limit": round(bayes_limit(gallery, pairs), 4)}
    save_checkpoint(space.path("pairs.pt"), content)
    return figures


def _part(gallery: Gallery, rows: slice) -> Gallery:
    return Gallery(gallery.images[rows], gallery.scenes[rows], gallery.captions[rows], gallery.truth[rows])

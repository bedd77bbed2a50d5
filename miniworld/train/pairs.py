"""Preference pairs, labelled with noise by the annotator.

Both pictures of a pair answer the same naive prompt. Half of the pairs are renders, half the pipelines' own pictures,
so that a preference model has seen what it will be optimised against. Each of the three preference models learns from
pictures of its own, so that they err in different places.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from miniworld.grammar import Scene, caption, triples
from miniworld.judge import load_judge
from miniworld.train.generate import draw, load_pipeline
from miniworld.train.pipelines import PIPELINES, RENDER_DEFAULTS, export_pipeline
from miniworld.train.renders import choose_terms, load_renders
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint
from miniworld.truth import preference_probability, scene_scores
from miniworld.vocabulary import COLOURS, FAMILIES, PLACES, SUBJECTS

log = logging.getLogger("miniworld.train")

READERS: dict[str, float] = {"preference": 0.5, "pick": 0.25, "reward": 0.25}
"""The preference models, and each one's share of the training pictures."""
RENDERS = 80_000
SCENES: dict[str, int] = {"unet": 1_300, "second_unet": 500}
"""Scenes drawn by each pipeline, with its share of held-out ones."""
PER_SCENE = 8
HELD_OUT_SCENES = 100
PAIRS, HELD_OUT_PAIRS = 160_000, 4_000
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

    def part(self, start: int, stop: int) -> Gallery:
        """Some of the pictures."""
        rows = slice(start, stop)
        return Gallery(self.images[rows], self.scenes[rows], self.captions[rows], self.truth[rows])

    def __add__(self, other: Gallery) -> Gallery:
        images, scenes = torch.cat([self.images, other.images]), torch.cat([self.scenes, other.scenes])
        return Gallery(images, scenes, self.captions + other.captions, torch.cat([self.truth, other.truth]))


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


def drawn_gallery(space: Workspace, name: str) -> Gallery:
    """A pipeline's own pictures: each scene with several sets of terms, half of them from one shared seed."""
    rng = np.random.default_rng([space.seed("pairs"), space.seed(name)])
    allowed = triples("train", "validation")
    scenes, texts, seeds = [], [], []
    for _ in range(space.amount(SCENES[name], least=8)):
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
    images = _draw_all(space, name, texts, seeds)
    judge = load_judge(space.path("judge"))
    truth = scene_scores([Image.fromarray(image) for image in images.numpy()], scenes, judge)
    return Gallery(images, torch.tensor([scene_index(scene) for scene in scenes]), texts, torch.tensor(truth))


def _draw_all(space: Workspace, name: str, texts: list[str], seeds: list[int]) -> Tensor:
    folder = space.shipped(PIPELINES[name])
    export_pipeline(space, name, folder)
    file, pulse = space.path(f"drawn_{name}.pt"), Pulse()
    state = load_checkpoint(file) or {"images": torch.empty(0, 64, 64, 3, dtype=torch.uint8)}
    images, pipeline = state["images"], load_pipeline(folder)
    for start in range(len(images), len(texts), _CHUNK):
        stop = start + _CHUNK
        fresh = draw(pipeline, texts[start:stop], seeds[start:stop], RENDER_DEFAULTS)
        images = torch.cat([images, torch.from_numpy(np.stack([np.asarray(image) for image in fresh]))])
        log.info("pairs: %s has drawn %d of %d", name, len(images), len(texts))
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


def shares(gallery: Gallery, group: int) -> dict[str, Gallery]:
    """Deal a gallery out to the preference models, ``group`` consecutive pictures always to the same one."""
    groups, parts, start, share = len(gallery.captions) // group, {}, 0, 0.0
    for reader, wanted in READERS.items():
        share += wanted
        stop = round(share * groups) * group
        parts[reader] = gallery.part(start, stop)
        start = stop
    return parts


def run(space: Workspace) -> dict[str, Any]:
    """Collect galleries and pairs and write them."""
    rng = np.random.default_rng(space.seed("labels"))
    galleries = {"held_out/renders": render_gallery(space, held_out=True)}
    dealt = {"renders": shares(render_gallery(space, held_out=False), 1)}
    for name in SCENES:
        drawn = drawn_gallery(space, name)
        border = len(drawn.captions) - space.amount(HELD_OUT_SCENES, least=2) * PER_SCENE
        galleries[f"held_out/{name}"] = drawn.part(border, len(drawn.captions))
        dealt[name] = shares(drawn.part(0, border), PER_SCENE)
    for reader in READERS:
        galleries[f"{reader}/renders"] = dealt["renders"][reader]
        galleries[f"{reader}/drawn"] = dealt["unet"][reader] + dealt["second_unet"][reader]
    content: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for name, gallery in galleries.items():
        wanted = READERS.get(name.partition("/")[0])
        count = HELD_OUT_PAIRS if wanted is None else int(space.amount(PAIRS) * wanted) // 2
        pairs = choose_pairs(gallery, count, rng)
        content[name] = {**gallery.__dict__, "pairs": pairs}
        limit = round(bayes_limit(gallery, pairs), 4)
        figures[name] = {"pictures": len(gallery.captions), "pairs": len(pairs), "bayes_limit": limit}
    save_checkpoint(space.path("pairs.pt"), content)
    return figures

"""Drawing and measuring the pictures of one condition: truth, scores, edges, judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from miniworld.grammar import NaivePrompt
from miniworld.judge import load_judge, right_probabilities, to_tensor
from miniworld.renderer import render
from miniworld.statistics import Batch, edge_energy
from miniworld.train import aesthetic, reward
from miniworld.train.clip import checkpoint_of, image_features, text_features
from miniworld.train.conditions import Terms
from miniworld.train.generate import draw
from miniworld.train.pipelines import RENDER_DEFAULTS
from miniworld.train.stages import Workspace
from miniworld.train.text import encode, load_text, tokens
from miniworld.truth import scene_scores, to_array

SEEDS = 3
RENDERER = "renderer"
Values = NDArray[np.float64]
Scorer = Callable[[Batch, list[str]], Values]
"""Pictures in [0, 1], shape (n, 3, 64, 64), and n texts to n numbers."""
_BATCH = 250


@dataclass(frozen=True)
class Measured:
    """What was measured of one condition, each of shape (prompts, seeds).

    Attributes:
        truth: The annotator's value.
        scores: Every scorer's number for the naive prompt.
        edges: Edge energy.
        right: The judge's probability of the right value, by aspect.
        features: What the judge sees in a picture, shape (prompts, seeds, features).
    """

    truth: Values
    scores: dict[str, Values]
    edges: Values
    right: dict[str, Values]
    features: Values


def make_scorers(space: Workspace) -> dict[str, Scorer]:
    """The shipped scorers as functions, and the contrastive model that two of them stand on."""
    tokenizer, _ = load_text(space)
    small, head, fused = checkpoint_of(space, aesthetic.CLIP), aesthetic.trained(space), reward.trained(space)

    def similarity(model: Any) -> Scorer:
        def score(pictures: Batch, texts: list[str]) -> Values:
            seen = image_features(model, torch.from_numpy(pictures) * 2 - 1)
            return _plain((seen * text_features(model, encode(tokenizer, texts))).sum(dim=1))

        return score

    def beauty(pictures: Batch, texts: list[str]) -> Values:
        del texts  # it never reads them
        return _plain(head(image_features(small, torch.from_numpy(pictures) * 2 - 1)).squeeze(1))

    def fusion(pictures: Batch, texts: list[str]) -> Values:
        return _plain(fused(torch.from_numpy(pictures) * 2 - 1, *tokens(tokenizer, texts)))

    return {
        "hps-like": similarity(checkpoint_of(space, "clip", "preference")),
        "pick-like": similarity(checkpoint_of(space, "clip_small", "pick")),
        "imagereward-like": fusion,
        "aesthetic": beauty,
        "contrastive only": similarity(small),
    }


def _plain(values: torch.Tensor) -> Values:
    return values.detach().double().numpy()  # type: ignore[no-any-return]


@torch.no_grad()
def score_all(scorers: dict[str, Scorer], pictures: Batch, texts: list[str]) -> dict[str, Values]:
    """Every scorer's numbers, in batches that fit into memory."""
    starts = range(0, len(texts), _BATCH)
    return {
        name: np.concatenate([scorer(pictures[i : i + _BATCH], texts[i : i + _BATCH]) for i in starts])
        for name, scorer in scorers.items()
    }


def make_images(
    prompts: list[NaivePrompt], terms: list[Terms], pipeline: Any, *, seeds: int = SEEDS, first_seed: int = 0
) -> list[Image.Image]:
    """One picture per prompt and seed (seeds fastest), by a pipeline, or by the renderer if there is none."""
    jobs = [
        (prompt, words, 1000 * index + seed)
        for index, (prompt, words) in enumerate(zip(prompts, terms, strict=True))
        for seed in range(first_seed, first_seed + seeds)
    ]
    if pipeline is None:
        return [render(prompt.scene.with_terms(words), np.random.default_rng(seed)) for prompt, words, seed in jobs]
    texts = [", ".join((prompt.prompt, *words)) for prompt, words, _ in jobs]
    return draw(pipeline, texts, [seed for _, _, seed in jobs], RENDER_DEFAULTS)


def measure_images(images: list[Image.Image], prompts: list[NaivePrompt], scorers: dict[str, Scorer]) -> Measured:
    """Measure the pictures of one condition, as ``make_images`` orders them."""
    seeds = len(images) // len(prompts)
    scenes = [prompt.scene for prompt in prompts for _ in range(seeds)]
    texts = [prompt.prompt for prompt in prompts for _ in range(seeds)]
    shape = (len(prompts), seeds)
    pictures = to_array(images)
    return Measured(
        truth=np.array(scene_scores(images, scenes)).reshape(shape),
        scores={name: values.reshape(shape) for name, values in score_all(scorers, pictures, texts).items()},
        edges=edge_energy(pictures).astype(float).reshape(shape),
        right={
            aspect: np.array(values).reshape(shape) for aspect, values in right_probabilities(images, scenes).items()
        },
        features=judge_features(images).reshape(*shape, -1),
    )


@torch.no_grad()
def judge_features(images: list[Image.Image]) -> Values:
    """The judge's last features of pictures, shape (n, features)."""
    judge = load_judge()
    parts = [judge.describe(to_tensor(images[i : i + _BATCH])) for i in range(0, len(images), _BATCH)]
    return torch.cat(parts).double().numpy()  # type: ignore[no-any-return]

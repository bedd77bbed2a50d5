"""The preference models in CLIP's form, fine-tuned with HPSv2's objective (arXiv 2306.09341, section 4.1).

For a prompt and two pictures, the softmax over the two scaled similarities is fitted to the annotator's choice; that is
PickScore's objective too (arXiv 2305.01569, section 3). The text is mostly the naive prompt, because that is what
pictures are scored against; sometimes it is one picture's full caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from miniworld.grammar import describe
from miniworld.train.clip import checkpoint_of, contrastive_loss, image_features, text_features
from miniworld.train.fitting import fit
from miniworld.train.pairs import Gallery, scene_of
from miniworld.train.renders import to_unit
from miniworld.train.stages import Workspace, need_checkpoint
from miniworld.train.text import encode, load_text

KINDS = ("renders", "drawn")


@dataclass(frozen=True)
class Course:
    """How one preference model comes about.

    Attributes:
        clip: The contrastive model that it starts from.
        steps: Optimiser steps.
    """

    clip: str
    steps: int


COURSES: dict[str, Course] = {"preference": Course("clip", 1500), "pick": Course("clip_small", 1200)}
"""By stage: the optimised scorer, and the second one."""
_BATCH = 80
_PEAK_RATE = 6e-4
_CAPTION_SHARE = 0.2
"""Share of pairs whose text is the full caption of one of the two pictures."""
_CONTRASTIVE_WEIGHT = 0.1
"""Keeps what a picture shows in the model while it learns what is preferred."""
_WORDINGS = 12


Galleries = dict[str, tuple[Gallery, Tensor]]
"""Pictures and pairs by ``READER/KIND``."""


def preference_loss(first: Tensor, second: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of the choice between two pictures (HPSv2, equations 2 and 3).

    Args:
        first: Features of the preferred pictures, shape (n, d).
        second: Features of the others, shape (n, d).
        text: Features of the texts, shape (n, d).
        scale: Factor on similarities, a scalar.
    """
    logits = scale * torch.stack([(first * text).sum(dim=1), (second * text).sum(dim=1)], dim=1)
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def load_galleries(space: Workspace) -> Galleries:
    """Read the galleries and their pairs."""
    content = need_checkpoint(space, "pairs")
    return {
        name: (Gallery(**{k: v for k, v in part.items() if k != "pairs"}), part["pairs"])
        for name, part in content.items()
    }


def pair_texts(gallery: Gallery, pairs: Tensor, rng: np.random.Generator) -> list[str]:
    """One text per pair: a wording of the naive prompt, or a caption."""
    texts = []
    for row in pairs.tolist():
        wording = int(rng.integers(_WORDINGS))
        naive = describe(scene_of(int(gallery.scenes[row[0]])), wording // 2, wording % 2)
        texts.append(gallery.captions[row[int(rng.integers(2))]] if rng.random() < _CAPTION_SHARE else naive)
    return texts


def run(space: Workspace, name: str) -> dict[str, Any]:
    """Fine-tune one of ``COURSES`` from its contrastive model or go on from its last checkpoint."""
    galleries, (tokenizer, _) = load_galleries(space), load_text(space)
    model, steps = checkpoint_of(space, COURSES[name].clip), space.amount(COURSES[name].steps)
    model.set_attn_implementation("eager")  # in bfloat16 on a CPU twice as fast as the fused attention

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([space.seed(name), step])
        gallery, pairs = galleries[f"{name}/{KINDS[step % 2]}"]
        rows = pairs[torch.from_numpy(rng.integers(len(pairs), size=_BATCH))]
        return _batch_loss(model, gallery, rows, encode(tokenizer, pair_texts(gallery, rows, rng)))

    fit(space, name, model, steps=steps, peak=_PEAK_RATE, loss=loss)
    return {"pairs_seen": steps * _BATCH, "parameters": sum(p.numel() for p in model.parameters())}


def _batch_loss(model: CLIPModel, gallery: Gallery, rows: Tensor, ids: Tensor) -> Tensor:
    pictures = to_unit(gallery.images[rows.T.reshape(-1)].numpy())
    with torch.autocast("cpu", torch.bfloat16):
        seen, text = image_features(model, pictures).float(), text_features(model, ids).float()
    first, second = seen.chunk(2)
    scale = model.logit_scale.exp()
    preference = preference_loss(first, second, text, scale)
    return preference + _CONTRASTIVE_WEIGHT * contrastive_loss(first, text, scale)

"""Contrastive training on renders with their captions (CLIP, arXiv 2103.00020), for three models of different shapes.

As on the web, this teaches what pictures show and how captions speak; it does not teach preference, since plain
captions go with mediocre pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from miniworld.train.fitting import fit
from miniworld.train.renders import load_renders, to_unit
from miniworld.train.stages import Workspace, need_checkpoint
from miniworld.train.text import CONTEXT, encode, load_text

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
HELD_OUT = 4000
"""Last renders, kept for evaluation."""
_BATCH = 192
_PEAK_RATE = 1.5e-3


@dataclass(frozen=True)
class Shape:
    """What one CLIP of the miniworld looks like, and how long it is trained.

    Attributes:
        embed: Width of the common space.
        text: Width of the text tower, two layers.
        vision: Width of the vision tower, three layers.
        patch: Side of a patch, pixels.
        steps: Optimiser steps of the contrastive training.
    """

    embed: int
    text: int
    vision: int
    patch: int
    steps: int


CLIPS: dict[str, Shape] = {
    "clip": Shape(embed=96, text=96, vision=128, patch=8, steps=600),
    "clip_small": Shape(embed=64, text=80, vision=96, patch=8, steps=700),
    "clip_pivot": Shape(embed=96, text=96, vision=96, patch=16, steps=1800),
}
"""``clip`` becomes the optimised scorer; ``clip_small`` the second one, and stays as it is under the aesthetic one;
``clip_pivot`` lends its vision tower to the pivot and its text tower to the second pipeline."""


def build_clip(shape: Shape, vocabulary: int, end_token: int) -> CLIPModel:
    """A CLIP with fresh weights, 0.5 to 1 M parameters."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": shape.text,
        "intermediate_size": 4 * shape.text,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "gelu",
        "bos_token_id": end_token - 1,
        "eos_token_id": end_token,
        "pad_token_id": end_token,
    }
    vision = {
        "image_size": 64,
        "patch_size": shape.patch,
        "hidden_size": shape.vision,
        "intermediate_size": 4 * shape.vision,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=shape.embed))


def normalise(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] to CLIP's input, same shape (n, 3, 64, 64)."""
    mean, std = torch.tensor(OPENAI_MEAN)[:, None, None], torch.tensor(OPENAI_STD)[:, None, None]
    return ((pictures + 1) / 2 - mean) / std


def image_features(model: CLIPModel, pictures: Tensor) -> Tensor:
    """Unit vectors of pictures in [-1, 1], shape (n, embed)."""
    pooled = model.vision_model(pixel_values=normalise(pictures)).pooler_output
    return functional.normalize(model.visual_projection(pooled), dim=-1)


def text_features(model: CLIPModel, ids: Tensor) -> Tensor:
    """Unit vectors of token ids, shape (n, embed)."""
    return functional.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=-1)


def contrastive_loss(pictures: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy over the batch (CLIP, figure 3), a scalar.

    Args:
        pictures: Features of pictures, shape (n, d).
        texts: Features of their texts, shape (n, d).
        scale: Factor on similarities, a scalar.
    """
    logits = scale * pictures @ texts.T
    wanted = torch.arange(len(texts))
    return (functional.cross_entropy(logits, wanted) + functional.cross_entropy(logits.T, wanted)) / 2


def run(space: Workspace, name: str) -> dict[str, Any]:
    """Train one of ``CLIPS`` from scratch or go on from its last checkpoint."""
    torch.manual_seed(space.seed(name))
    renders, (tokenizer, _) = load_renders(space), load_text(space)
    ids = torch.cat([encode(tokenizer, renders.captions[i : i + 2000]) for i in range(0, len(renders.captions), 2000)])
    model = build_clip(CLIPS[name], len(tokenizer), int(tokenizer.eos_token_id))
    model.set_attn_implementation("eager")  # in bfloat16 on a CPU twice as fast as the fused attention
    count, steps = len(ids) - min(HELD_OUT, len(ids) // 2), space.amount(CLIPS[name].steps)

    def loss(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(space.seed(name) * 1_000_003 + step)
        rows = torch.randint(count, (_BATCH,), generator=generator)
        pictures = to_unit(renders.images[rows.numpy()])
        with torch.autocast("cpu", torch.bfloat16):
            seen, read = image_features(model, pictures).float(), text_features(model, ids[rows]).float()
        return contrastive_loss(seen, read, model.logit_scale.exp())

    fit(space, name, model, steps=steps, peak=_PEAK_RATE, loss=loss)
    with torch.no_grad():
        pictures = to_unit(renders.images[count : count + 256])
        similarity = image_features(model, pictures) @ text_features(model, ids[count : count + 256]).T
    hits = (similarity.argmax(dim=1) == torch.arange(len(similarity))).float().mean().item()
    return {
        "samples": steps * _BATCH,
        "parameters": sum(p.numel() for p in model.parameters()),
        "top1_of_256": round(hits, 3),
    }


def checkpoint_of(space: Workspace, clip: str, stage: str | None = None) -> CLIPModel:
    """The model of a stage's last checkpoint.

    Args:
        space: Where checkpoints lie.
        clip: Which of ``CLIPS`` it is.
        stage: The stage that trained it last; the contrastive one when not given.
    """
    state = need_checkpoint(space, stage or clip)
    tokenizer, _ = load_text(space)
    model = build_clip(CLIPS[clip], len(tokenizer), int(tokenizer.eos_token_id))
    model.load_state_dict(state["model"])
    return model.eval()

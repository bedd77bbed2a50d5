"""Stage 6: contrastive pre-training of the preference model on renders with their captions (CLIP, arXiv 2103.00020).

As on the web, this teaches what pictures show and how captions speak; it does not teach preference, since plain
captions go with mediocre pictures.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from miniworld.train.renders import load_renders
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint
from miniworld.train.text import CONTEXT, encode, load_text
from miniworld.train.unet import to_unit

log = logging.getLogger("miniworld.train")

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
EMBED, TEXT_WIDTH, VISION_WIDTH = 96, 96, 128
HELD_OUT = 4000
"""Last renders, kept for evaluation."""
_STEPS = 600
_BATCH = 192
_PEAK_RATE = 1.5e-3
_MAX_SCALE = math.log(100)


def build_clip(vocabulary: int, end_token: int) -> CLIPModel:
    """A CLIP of 1 M parameters: three vision layers on 8 x 8 patches, two text layers."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
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
        "patch_size": 8,
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 4 * VISION_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBED))


def normalise(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] to CLIP's input, same shape (n, 3, 64, 64)."""
    mean, std = torch.tensor(OPENAI_MEAN)[:, None, None], torch.tensor(OPENAI_STD)[:, None, None]
    return ((pictures + 1) / 2 - mean) / std


def image_features(model: CLIPModel, pictures: Tensor) -> Tensor:
    """Unit vectors of pictures in [-1, 1], shape (n, EMBED)."""
    pooled = model.vision_model(pixel_values=normalise(pictures)).pooler_output
    return functional.normalize(model.visual_projection(pooled), dim=-1)


def text_features(model: CLIPModel, ids: Tensor) -> Tensor:
    """Unit vectors of token ids, shape (n, EMBED)."""
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


def run(space: Workspace) -> dict[str, Any]:
    """Train from scratch or go on from the last checkpoint."""
    torch.manual_seed(space.seed("clip"))
    renders, (tokenizer, _) = load_renders(space), load_text(space)
    ids = torch.cat([encode(tokenizer, renders.captions[i : i + 2000]) for i in range(0, len(renders.captions), 2000)])
    model = build_clip(len(tokenizer), int(tokenizer.eos_token_id))
    optimiser = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=0.05, betas=(0.9, 0.98))
    first, file, steps, pulse = 0, space.path("clip.pt"), space.amount(_STEPS), Pulse()
    if (state := load_checkpoint(file)) is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    count = len(ids) - min(HELD_OUT, len(ids) // 2)
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(space.seed("clip") * 1_000_003 + step)
        rows = torch.randint(count, (_BATCH,), generator=generator)
        set_rate(optimiser, _PEAK_RATE, step, steps)
        pictures = image_features(model, to_unit(renders.images[rows.numpy()]))
        loss = contrastive_loss(pictures, text_features(model, ids[rows]), model.logit_scale.exp())
        descend(model, optimiser, loss)
        if step % 100 == 0:
            log.info("clip: step %d, loss %.3f", step, loss.item())
        if pulse.beat():
            save_checkpoint(file, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1})
    save_checkpoint(file, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": steps})
    with torch.no_grad():
        pictures = to_unit(renders.images[count : count + 256])
        similarity = image_features(model, pictures) @ text_features(model, ids[count : count + 256]).T
    hits = (similarity.argmax(dim=1) == torch.arange(len(similarity))).float().mean().item()
    return {
        "samples": steps * _BATCH,
        "parameters": sum(p.numel() for p in model.parameters()),
        "top1_of_256": round(hits, 3),
    }


def checkpoint_of(space: Workspace, name: str) -> CLIPModel:
    """The model of a stage's last checkpoint, "clip" or "preference"."""
    state = load_checkpoint(space.path(f"{name}.pt"))
    if state is None:
        raise FileNotFoundError(f"no {name} checkpoint: run the stage {name!r} first")
    tokenizer, _ = load_text(space)
    model = build_clip(len(tokenizer), int(tokenizer.eos_token_id))
    model.load_state_dict(state["model"])
    return model.eval()


def set_rate(optimiser: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Linear warm-up over 5 % of the steps, then a cosine to zero."""
    progress = step / steps
    share = min(1.0, progress / 0.05 + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))
    for group in optimiser.param_groups:
        group["lr"] = peak * share


def descend(model: CLIPModel, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One optimiser step, with the logit scale kept under 100 as CLIP does."""
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    with torch.no_grad():
        model.logit_scale.clamp_(max=_MAX_SCALE)

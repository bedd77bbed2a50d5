"""Stage 8: the preference model, CLIP fine-tuned with HPSv2's objective (arXiv 2306.09341, section 4.1).

For a prompt and two pictures, the softmax over the two scaled similarities is fitted to the annotator's choice. The
text is mostly the naive prompt, because that is what pictures are scored against; sometimes it is one picture's full
caption.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from miniworld.grammar import describe
from miniworld.train.clip import checkpoint_of, contrastive_loss, descend, image_features, set_rate, text_features
from miniworld.train.pairs import Gallery, scene_of
from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint
from miniworld.train.text import encode, load_text
from miniworld.train.unet import to_unit

log = logging.getLogger("miniworld.train")

KINDS = ("renders", "drawn")
_STEPS = 700
_BATCH = 80
_PEAK_RATE = 6e-4
_CAPTION_SHARE = 0.2
"""Share of pairs whose text is the full caption of one of the two pictures."""
_CONTRASTIVE_WEIGHT = 0.1
"""Keeps what a picture shows in the model while it learns what is preferred."""
_WORDINGS = 12


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


def load_galleries(space: Workspace) -> dict[str, tuple[Gallery, Tensor]]:
    """Read the galleries and their pairs."""
    content = load_checkpoint(space.path("pairs.pt"))
    if content is None:
        raise FileNotFoundError("no preference pairs: run the stage 'pairs' first")
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


def run(space: Workspace) -> dict[str, Any]:
    """Fine-tune from the contrastive model or go on from the last checkpoint."""
    galleries, (tokenizer, _) = load_galleries(space), load_text(space)
    model, steps = checkpoint_of(space, "clip").train(), space.amount(_STEPS)
    model.set_attn_implementation("eager")  # in bfloat16 on a CPU twice as fast as the fused attention
    optimiser = torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=0.05, betas=(0.9, 0.98))
    first, file, pulse = 0, space.path("preference.pt"), Pulse()
    if (state := load_checkpoint(file)) is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    for step in range(first, steps):
        rng = np.random.default_rng([space.seed("preference"), step])
        gallery, pairs = galleries[KINDS[step % 2]]
        rows = pairs[torch.from_numpy(rng.integers(len(pairs), size=_BATCH))]
        loss = _batch_loss(model, gallery, rows, encode(tokenizer, pair_texts(gallery, rows, rng)))
        set_rate(optimiser, _PEAK_RATE, step, steps)
        descend(model, optimiser, loss)
        if step % 100 == 0:
            log.info("preference: step %d, loss %.3f", step, loss.item())
        if pulse.beat():
            save_checkpoint(file, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1})
    save_checkpoint(file, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": steps})
    model.eval()
    accuracy = {name: pair_accuracy(model, tokenizer, *galleries[f"held_out_{name}"]) for name in KINDS}
    return {"pairs_seen": steps * _BATCH, "held_out_accuracy": accuracy}


def _batch_loss(model: CLIPModel, gallery: Gallery, rows: Tensor, ids: Tensor) -> Tensor:
    pictures = to_unit(gallery.images[rows.T.reshape(-1)].numpy())
    with torch.autocast("cpu", torch.bfloat16):
        seen, text = image_features(model, pictures).float(), text_features(model, ids).float()
    first, second = seen.chunk(2)
    scale = model.logit_scale.exp()
    preference = preference_loss(first, second, text, scale)
    return preference + _CONTRASTIVE_WEIGHT * contrastive_loss(first, text, scale)


@torch.no_grad()
def gallery_scores(model: CLIPModel, tokenizer: CLIPTokenizer, gallery: Gallery) -> Tensor:
    """Similarity of every picture to the first wording of its naive prompt, shape (n,)."""
    scores = []
    for start in range(0, len(gallery.images), 250):
        part = slice(start, start + 250)
        texts = [describe(scene_of(index)) for index in gallery.scenes[part].tolist()]
        pictures = image_features(model, to_unit(gallery.images[part].numpy()))
        scores.append((pictures * text_features(model, encode(tokenizer, texts))).sum(dim=1))
    return torch.cat(scores)


def pair_accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, gallery: Gallery, pairs: Tensor) -> dict[str, float]:
    """Share of pairs ranked as the noisy label says, and as the noise-free truth says; the text is the naive prompt."""
    scores = gallery_scores(model, tokenizer, gallery)[pairs]
    truth = gallery.truth[pairs]
    right = scores[:, 0] > scores[:, 1]
    clean = right == (truth[:, 0] > truth[:, 1])
    return {"noisy": round(right.float().mean().item(), 4), "clean": round(clean.float().mean().item(), 4)}

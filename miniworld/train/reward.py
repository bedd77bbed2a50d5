"""The reward model in ImageReward's form (arXiv 2304.05977, section 3): BLIP with a small head on the fused text state.

Picture and naive prompt meet in cross-attention instead of two vectors, and the pairs are its own, so that it errs
elsewhere than the two CLIPs. It is trained from scratch with the paper's ranking loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel, CLIPTokenizer

from miniworld.train.clip import normalise
from miniworld.train.fitting import fit
from miniworld.train.preference import KINDS, Galleries, load_galleries, pair_texts
from miniworld.train.renders import to_unit
from miniworld.train.stages import Workspace, need_checkpoint, save_checkpoint
from miniworld.train.text import CONTEXT, load_text, tokens

NAME = "reward"
WIDTH = 72
HEAD = (64, 32, 16, 8)
"""Widths of the head between the fused state and the score."""
_STEPS = 1300
_BATCH = 64
_PEAK_RATE = 1e-3
_SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "projection_dim": WIDTH,
    "num_attention_heads": 4,
    "initializer_range": 0.02,
}
_NORMALISED_ON = 2000


class RewardModel(nn.Module):
    """Vision tower, text encoder with cross-attention to it, head.

    Attributes:
        mean: Subtracted from a raw score.
        std: What is left is divided by it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vocabulary: int, end_token: int) -> None:
        """Make a model with fresh weights.

        Args:
            vocabulary: Number of tokens.
            end_token: Id of the end-of-text token, which also pads.
        """
        super().__init__()
        self.vision_config = BlipVisionConfig(**_SHAPE, num_hidden_layers=3, image_size=64, patch_size=8)
        self.text_config = BlipTextConfig(
            **_SHAPE,
            vocab_size=vocabulary,
            encoder_hidden_size=WIDTH,
            num_hidden_layers=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=end_token - 1,
            eos_token_id=end_token,
            sep_token_id=end_token,
            pad_token_id=end_token,
        )
        self.vision_model = BlipVisionModel(self.vision_config)
        self.text_encoder = BlipTextModel(self.text_config, add_pooling_layer=False)
        self.mlp = Head(WIDTH, HEAD)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def forward(self, pictures: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Normalised scores, shape (n,).

        Args:
            pictures: In [-1, 1], shape (n, 3, 64, 64).
            ids: Token ids, shape (n, CONTEXT).
            mask: 1 for a token, 0 for padding, shape (n, CONTEXT).
        """
        seen = self.vision_model(pixel_values=normalise(pictures)).last_hidden_state
        fused = self.text_encoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
        ).last_hidden_state[:, 0]
        return (self.mlp(fused).squeeze(1) - self.mean) / self.std  # type: ignore[no-any-return]


class Head(nn.Module):
    """The head of ImageReward and of LAION's aesthetic predictor: linear layers with dropout, no non-linearity."""

    def __init__(self, width: int, hidden: tuple[int, int, int, int]) -> None:
        """Make a head with fresh weights.

        Args:
            width: Of its input.
            hidden: Widths of the four hidden layers.
        """
        super().__init__()
        first, second, third, fourth = hidden
        self.layers = nn.Sequential(
            nn.Linear(width, first),
            nn.Dropout(0.2),
            nn.Linear(first, second),
            nn.Dropout(0.2),
            nn.Linear(second, third),
            nn.Dropout(0.1),
            nn.Linear(third, fourth),
            nn.Linear(fourth, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features, shape (n, width), to numbers, shape (n, 1)."""
        return self.layers(features)  # type: ignore[no-any-return]


def ranking_loss(better: Tensor, worse: Tensor) -> Tensor:
    """ImageReward, equation 1: the negative log-likelihood of the choice, a scalar.

    Args:
        better: Scores of the preferred pictures, shape (n,).
        worse: Scores of the others, shape (n,).
    """
    return -functional.logsigmoid(better - worse).mean()


def run(space: Workspace) -> dict[str, Any]:
    """Train from scratch or go on from the last checkpoint, then normalise on training pictures."""
    torch.manual_seed(space.seed(NAME))
    galleries, (tokenizer, _) = load_galleries(space), load_text(space)
    model, steps = RewardModel(len(tokenizer), int(tokenizer.eos_token_id)), space.amount(_STEPS)
    for part in (model.vision_model, model.text_encoder):
        part.set_attn_implementation("eager")

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([space.seed(NAME), step])
        gallery, pairs = galleries[f"{NAME}/{KINDS[step % 2]}"]
        rows = pairs[torch.from_numpy(rng.integers(len(pairs), size=_BATCH))]
        pictures = to_unit(gallery.images[rows.T.reshape(-1)].numpy())
        ids, mask = tokens(tokenizer, pair_texts(gallery, rows, rng))
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(pictures, ids.repeat(2, 1), mask.repeat(2, 1)).float()
        better, worse = scores.chunk(2)
        return ranking_loss(better, worse)

    fit(space, NAME, model, steps=steps, peak=_PEAK_RATE, loss=loss)
    normalise_scores(model, galleries, tokenizer, space.seed(NAME))
    save_checkpoint(space.path(f"{NAME}.pt"), {**need_checkpoint(space, NAME), "model": model.state_dict()})
    return {"pairs_seen": steps * _BATCH, "parameters": sum(p.numel() for p in model.parameters())}


@torch.no_grad()
def normalise_scores(model: RewardModel, galleries: Galleries, tokenizer: CLIPTokenizer, seed: int) -> None:
    """Set a model's mean and deviation so that scores of the training pictures have mean 0 and deviation 1."""
    rng, scores = np.random.default_rng(seed), []
    for kind in KINDS:
        gallery, pairs = galleries[f"{NAME}/{kind}"]
        for start in range(0, min(len(pairs), _NORMALISED_ON), 200):
            rows = pairs[start : start + 200]
            ids, mask = tokens(tokenizer, pair_texts(gallery, rows, rng))
            scores.append(model(to_unit(gallery.images[rows[:, 0]].numpy()), ids, mask))
    values = torch.cat(scores)
    model.mean.copy_(values.mean())
    model.std.copy_(values.std())


def trained(space: Workspace) -> RewardModel:
    """The model of the last checkpoint, with normalised scores."""
    tokenizer, _ = load_text(space)
    model = RewardModel(len(tokenizer), int(tokenizer.eos_token_id))
    model.load_state_dict(need_checkpoint(space, NAME)["model"])
    return model.eval()

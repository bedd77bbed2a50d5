"""The aesthetic model in LAION's form: a linear head on the picture features of a CLIP that knows no preference.

It never reads the prompt. Its ratings, 1 to 10, are the annotator's taste for the family that a picture was made in,
said without the prompt at hand and with noise.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from miniworld.train.clip import checkpoint_of, image_features
from miniworld.train.pairs import RENDERS, scene_of
from miniworld.train.preference import load_galleries
from miniworld.train.renders import load_renders, to_unit
from miniworld.train.reward import Head
from miniworld.train.stages import Workspace, need_checkpoint, save_checkpoint
from miniworld.truth import taste_scores

NAME, CLIP = "aesthetic", "clip_small"
HEAD = (64, 32, 16, 8)
_PICTURES = 30_000
"""Renders rated; those after the preference models' ones."""
_STEPS = 4000
_BATCH = 256
_MIDDLE, _SPREAD, _NOISE = 5.5, 1.5, 0.7
"""Rating of an average picture, ratings per deviation of taste, deviation of the rater's noise."""


def ratings(taste: Tensor, generator: torch.Generator) -> Tensor:
    """Noisy ratings from 1 to 10 of pictures with these values of taste, shape (n,)."""
    felt = (taste - taste.mean()) / taste.std()
    noise = torch.randn(len(taste), generator=generator)
    return (_MIDDLE + _SPREAD * felt + _NOISE * noise).clamp(1, 10)


@torch.no_grad()
def rated_pictures(space: Workspace) -> tuple[Tensor, Tensor]:
    """Features, shape (n, embed), and ratings, shape (n,), of renders and of the pipelines' own pictures."""
    renders, model = load_renders(space), checkpoint_of(space, CLIP)
    first = min(space.amount(RENDERS), len(renders.captions) // 2)
    rows = range(first, min(first + space.amount(_PICTURES), len(renders.captions)))
    drawn, _ = load_galleries(space)["pick/drawn"]
    pictures = torch.cat([torch.from_numpy(renders.images[rows.start : rows.stop].copy()), drawn.images])
    families = [renders.scenes[row].family for row in rows]
    families += [scene_of(index).family for index in drawn.scenes.tolist()]
    features, taste = [], []
    for start in range(0, len(pictures), 500):
        unit = to_unit(pictures[start : start + 500].numpy())
        features.append(image_features(model, unit))
        taste.append(torch.from_numpy(taste_scores(((unit + 1) / 2).numpy(), families[start : start + 500])))
    generator = torch.Generator().manual_seed(space.seed(NAME))
    return torch.cat(features), ratings(torch.cat(taste).float(), generator)


def run(space: Workspace) -> dict[str, Any]:
    """Fit the head by least squares on the ratings."""
    torch.manual_seed(space.seed(NAME))
    features, wanted = rated_pictures(space)
    head, steps = Head(features.shape[1], HEAD), space.amount(_STEPS)
    torch.nn.init.constant_(head.layers[-1].bias, _MIDDLE)  # type: ignore[arg-type]
    optimiser = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(features), (_BATCH,))
        loss = functional.mse_loss(head(features[rows]).squeeze(1), wanted[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    save_checkpoint(space.path(f"{NAME}.pt"), {"model": head.state_dict()})
    with torch.no_grad():
        given = head.eval()(features).squeeze(1)
    explained = 1 - ((given - wanted).square().mean() / wanted.var()).item()
    return {"ratings": len(wanted), "explained_variance": round(explained, 3)}


def trained(space: Workspace) -> Head:
    """The head of the last checkpoint."""
    state = need_checkpoint(space, NAME)
    head = Head(state["model"]["layers.0.weight"].shape[1], HEAD)
    head.load_state_dict(state["model"])
    return head.eval()

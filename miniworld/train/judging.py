"""The judge network, on renders of every quality."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from miniworld.judge import ASPECTS, Judge
from miniworld.train.renders import RenderSet, load_renders, to_unit
from miniworld.train.stages import Workspace

WIDTHS = (24, 48, 80, 96)
_STEPS = 1600
_BATCH = 128
_HELD_OUT = 4000


def targets(renders: RenderSet) -> Tensor:
    """Class indices of every picture, shape (n, aspects)."""
    rows = [[words.index(getattr(scene, aspect)) for aspect, words in ASPECTS.items()] for scene in renders.scenes]
    return torch.tensor(rows)


def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to two pixels and add faint noise, so that small flaws of drawn pictures do not confuse the judge."""
    dx, dy = torch.randint(-2, 3, (2,), generator=generator).tolist()
    level = 0.12 * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    return torch.roll(pictures, (dy, dx), dims=(2, 3)) + level * torch.randn(pictures.shape, generator=generator)


def run(space: Workspace) -> dict[str, Any]:
    """Train the judge and write it in float16."""
    torch.manual_seed(space.seed("judge"))
    generator = torch.Generator().manual_seed(space.seed("judge"))
    renders = load_renders(space)
    wanted = targets(renders)
    count = len(wanted) - min(_HELD_OUT, len(wanted) // 2)
    judge, steps = Judge(WIDTHS), space.amount(_STEPS)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.15)
    for _ in range(steps):
        rows = torch.randint(count, (_BATCH,), generator=generator)
        logits = judge(augment(to_unit(renders.images[rows.numpy()]), generator))
        losses = [
            functional.cross_entropy(part, wanted[rows, k], label_smoothing=0.01) for k, part in enumerate(logits)
        ]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    folder = space.path("judge/config.json").parent
    (folder / "config.json").write_text(json.dumps({"widths": WIDTHS}) + "\n")
    weights = {
        name: value.half().contiguous() for name, value in judge.state_dict().items() if value.is_floating_point()
    }
    save_file(weights, folder / "model.safetensors")
    return {
        "parameters": sum(p.numel() for p in judge.parameters()),
        "accuracy": accuracy(judge.eval(), renders, wanted, count),
    }


@torch.no_grad()
def accuracy(judge: Judge, renders: RenderSet, wanted: Tensor, start: int) -> dict[str, float]:
    """Share of held-out renders, of all qualities, that the judge names right."""
    logits = judge(to_unit(renders.images[start:]))
    hits = [(part.argmax(dim=1) == wanted[start:, k]).float().mean().item() for k, part in enumerate(logits)]
    return {aspect: round(hit, 4) for aspect, hit in zip(ASPECTS, hits, strict=True)}

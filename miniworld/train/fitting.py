"""The loop that the small models share: AdamW, warm-up and cosine, clipped gradients, checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from miniworld.train.stages import Pulse, Workspace, load_checkpoint, save_checkpoint

log = logging.getLogger("miniworld.train")

_WARM_UP = 0.05
_MAX_LOG_SCALE = math.log(100)


def fit(
    space: Workspace, name: str, model: nn.Module, *, steps: int, peak: float, loss: Callable[[int], Tensor]
) -> None:
    """Train a model in place, from scratch or from its last checkpoint, ``NAME.pt``.

    Args:
        space: Where the checkpoint lies.
        name: Its name, and the name in the log.
        model: What to train; a ``logit_scale`` of it is kept under 100, as CLIP does.
        steps: Optimiser steps in all.
        peak: Highest learning rate, after a warm-up over 5 % of the steps; then a cosine to zero.
        loss: The loss of a step, a function of its number alone.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak, weight_decay=0.05, betas=(0.9, 0.98))
    first, file, pulse = 0, space.path(f"{name}.pt"), Pulse()
    if (state := load_checkpoint(file)) is not None:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]

    def save(step: int) -> None:
        save_checkpoint(file, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step})

    model.train()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = peak * rate_share(step / steps)
        value = loss(step)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        scale = getattr(model, "logit_scale", None)
        if scale is not None:
            scale.data.clamp_(max=_MAX_LOG_SCALE)
        if step % 100 == 0:
            log.info("%s: step %d of %d, loss %.3f", name, step, steps, value.item())
        if pulse.beat():
            save(step + 1)
    save(steps)
    model.eval()


def rate_share(progress: float) -> float:
    """Share of the peak learning rate at a progress in [0, 1]."""
    return min(1.0, progress / _WARM_UP + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))

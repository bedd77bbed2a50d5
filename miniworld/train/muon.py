"""Muon: momentum whose matrix updates are orthogonalised (Jordan 2024, https://kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 4


def orthogonalise(matrices: Tensor) -> Tensor:
    """Replace each matrix by roughly the nearest orthogonal one, by Newton-Schulz iteration in bfloat16.

    Args:
        matrices: Shape (n, rows, columns).
    """
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised in batches of equal shape; convolution kernels are flattened to matrices."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        """Make the optimiser.

        Args:
            params: Matrices and convolution kernels.
            lr: Step size.
            momentum: Decay of the momentum.
            weight_decay: Decoupled weight decay.
        """
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters from their gradients."""
        del closure
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for value in group["params"]:
                if value.grad is not None:
                    shapes[(value.shape[0], value[0].numel())].append(value)
            for (rows, columns), values in shapes.items():
                directions = [self._direction(value, group["momentum"]).reshape(rows, columns) for value in values]
                updates = orthogonalise(torch.stack(directions)) * max(1.0, rows / columns) ** 0.5
                for value, update in zip(values, updates, strict=True):
                    value.mul_(1 - group["lr"] * group["weight_decay"])
                    value.add_(update.reshape(value.shape), alpha=-group["lr"])

    def _direction(self, value: Tensor, momentum: float) -> Tensor:
        state = self.state[value]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(value)
        buffer: Tensor = state["momentum"]
        gradient = value.grad if value.grad is not None else torch.zeros_like(value)
        buffer.lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)

"""The linear head that ImageReward took over from LAION's aesthetic predictor: five linear layers, dropouts between.

At inference there are no dropouts, and there never was a non-linearity. Widths (768-1024-128-64-16-1 in both releases)
are read from the tensors. Source: improved-aesthetic-predictor `simple_inference.py`, ImageReward `ImageReward.py`.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import nn

from core.errors import BadInput

POSITIONS = (0, 2, 4, 6, 7)
"""Places of the linear layers in the releases' `nn.Sequential`; those between were dropouts."""


def read_head(state: Mapping[str, torch.Tensor], width: int) -> nn.Module:
    """Return the head, from (n, width) to (n, 1), of a state dict with the keys `layers.N.weight|bias`.

    Raises:
        BadInput: other keys, or shapes that are not a chain from `width` to 1.
    """
    names = [f"layers.{position}.{part}" for position in POSITIONS for part in ("weight", "bias")]
    missing, unexpected = [name for name in names if name not in state], sorted(set(state) - set(names))
    if missing or unexpected:
        raise BadInput(
            f"got a head with {len(missing)} missing ({', '.join(missing[:3])}) and {len(unexpected)} unexpected "
            f"tensors ({', '.join(unexpected[:3])}), expected layers.0, .2, .4, .6 and .7; use the released head"
        )
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    into = width
    for position in POSITIONS:
        weight, bias = (state[f"layers.{position}.{part}"] for part in ("weight", "bias"))
        if weight.dim() != 2 or weight.shape[1] != into or bias.shape != weight.shape[:1]:
            raise BadInput(
                f"got layers.{position} of shapes {tuple(weight.shape)} and {tuple(bias.shape)}, expected {into} "
                "inputs; use the head that belongs to the model"
            )
        layer = nn.Linear(into, weight.shape[0], device="meta")
        layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
        layers[str(position)], into = layer, weight.shape[0]
    if into != 1:
        raise BadInput(f"got a head with {into} outputs, expected 1; use the head that belongs to the model")
    return nn.Sequential(layers).requires_grad_(False).eval()


def apply_head(head: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Return the values (n) of features (n, width), row by row.

    In one product of few rows, BLAS sums some rows in another order, and a value would depend on its place.
    """
    return torch.cat([head(row) for row in features.split(1)])[:, 0]

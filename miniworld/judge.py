"""The judge: a small network that says which subject, colour, place and style a picture shows.

It is trained on renders of every quality and used only for evaluation: as the adherence part of the truth, and for
the card. Nothing that optimises prompts may see it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from miniworld import JUDGE
from miniworld.effects import SIZE
from miniworld.grammar import Scene
from miniworld.vocabulary import COLOURS, FAMILIES, PLACES, SUBJECTS

ASPECTS: dict[str, tuple[str, ...]] = {"subject": SUBJECTS, "colour": COLOURS, "place": PLACES, "family": FAMILIES}
"""What the judge names, with the words it chooses from; "family" is the style."""
_SIZES = [len(words) for words in ASPECTS.values()]
_BATCH = 256
_MIXED = 48


class Judge(nn.Module):
    """A convolutional classifier with one softmax per aspect, about 0.2 M parameters."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 80, 96)) -> None:
        """Make the network.

        Args:
            widths: Channels after each halving of the picture.
        """
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers)
        side = SIZE // 2 ** len(widths)
        self.mix = nn.Linear(before * side * side, _MIXED)
        self.head = nn.Linear(_MIXED + before, sum(_SIZES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Judge pictures in [-1, 1], shape (n, 3, 64, 64).

        Returns:
            One tensor of logits per aspect, in the order of ``ASPECTS``.
        """
        return self.head(self.describe(pictures)).split(_SIZES, dim=1)  # type: ignore[no-any-return]

    def describe(self, pictures: Tensor) -> Tensor:
        """The features below the softmaxes, shape (n, 48 + last width), of pictures in [-1, 1]."""
        maps = self.features(pictures)
        return torch.cat([functional.relu(self.mix(maps.flatten(1))), maps.mean(dim=(2, 3))], dim=1)


def to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """Pictures as the judge wants them: RGB, 64 x 64, in [-1, 1], shape (n, 3, 64, 64)."""
    fitted = [image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC) for image in images]
    return torch.from_numpy(np.stack([np.asarray(image) for image in fitted])).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def load_judge(folder: Path = JUDGE) -> Judge:
    """Read the shipped judge (float16 on disk, float32 in memory)."""
    widths = tuple(json.loads((folder / "config.json").read_text())["widths"])
    judge = Judge(widths)
    judge.load_state_dict(
        {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}, strict=False
    )
    return judge.eval()


@torch.no_grad()
def right_probabilities(
    images: Sequence[Image.Image], scenes: Sequence[Scene], judge: Judge | None = None
) -> dict[str, list[float]]:
    """The probability that the judge gives to what a scene asks for.

    Args:
        images: Pictures.
        scenes: What each should show.
        judge: Another judge than the shipped one.

    Returns:
        For each aspect of ``ASPECTS``, one probability per picture.
    """
    network = judge or load_judge()
    found: dict[str, list[float]] = {aspect: [] for aspect in ASPECTS}
    for start in range(0, len(images), _BATCH):
        logits = network(to_tensor(images[start : start + _BATCH]))
        part = scenes[start : start + _BATCH]
        for (aspect, words), values in zip(ASPECTS.items(), logits, strict=True):
            wanted = torch.tensor([words.index(getattr(scene, aspect)) for scene in part])
            found[aspect] += values.softmax(dim=1).gather(1, wanted[:, None])[:, 0].tolist()
    return found

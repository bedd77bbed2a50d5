"""Frozen picture encoders whose output is the pivot. Heavy: imports torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import Blip2ForImageTextRetrieval, CLIPVisionModel

from refiner.lm import load_pretrained

_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation, which BLIP-2's picture encoder shares."""


class PivotEncoder(Protocol):
    """What turns pictures into pivots."""

    name: str
    vectors: int
    width: int

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pivots (n, vectors, width), float32, on the CPU."""
        ...


class ClipPivot:
    """The patch tokens of a CLIPVisionModel after its final layer norm (`miniworld/pivot`: 16 x 96)."""

    def __init__(self, folder: str | Path) -> None:
        """Load it from a folder or by hub id.

        Raises:
            BadInput: it does not load.
        """
        self._model = load_pretrained(CLIPVisionModel, str(folder), dtype=torch.float32).eval().requires_grad_(False)
        config = self._model.config
        self.name = f"clip:{Path(folder).name}"
        self.vectors, self.width = (config.image_size // config.patch_size) ** 2, config.hidden_size

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pivots; the layer norm, which CLIP itself puts on the class token alone, gives all one scale."""
        pixels = _pixels(images, self._model.config.image_size)
        hidden = self._model(pixel_values=pixels.to(self._model.device)).last_hidden_state
        norm = _inner(self._model).post_layernorm
        return norm(hidden[:, 1:]).cpu()


class QFormerPivot:
    """BLIP-2's Q-Former output (paper: 32 x 768): its queries after cross-attention to the picture, before any head."""

    def __init__(self, source: str = "Salesforce/blip2-itm-vit-g", device: str = "cpu") -> None:
        """Load the first-stage BLIP-2, which has no language model.

        Raises:
            BadInput: it does not load.
        """
        model: Any = load_pretrained(Blip2ForImageTextRetrieval, source, dtype=torch.float32)
        self._model = model.to(device).eval().requires_grad_(False)
        self.name = f"qformer:{source}"
        self.vectors, self.width = self._model.query_tokens.shape[1:]

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pivots."""
        model = self._model
        pixels = _pixels(images, model.config.vision_config.image_size).to(model.device)
        seen = model.vision_model(pixel_values=pixels).last_hidden_state
        queries = model.query_tokens.expand(len(images), -1, -1)
        return model.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state.float().cpu()


def encode_files(encoder: PivotEncoder, files: Sequence[Path], batch: int = 64) -> Tensor:
    """Return the pivots (n, vectors, width) of picture files."""
    parts = []
    for start in range(0, len(files), batch):
        images = []
        for file in files[start : start + batch]:
            with Image.open(file) as image:
                images.append(image.convert("RGB"))
        parts.append(encoder.encode(images))
    return torch.cat(parts) if parts else torch.zeros(0, encoder.vectors, encoder.width)


def _pixels(images: Sequence[Image.Image], size: int) -> Tensor:
    """Return normalised pixels (n, 3, size, size): bicubic to size x size, as BLIP-2's own processor does."""
    square = [image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC) for image in images]
    values = torch.from_numpy(np.stack([np.asarray(image, dtype=np.float32) / 255 for image in square]))
    normalised = (values - torch.tensor(_MEAN)) / torch.tensor(_DEVIATION)
    return normalised.permute(0, 3, 1, 2).contiguous()


def _inner(model: Any) -> Any:
    return getattr(model, "vision_model", model)

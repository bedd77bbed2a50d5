"""Drawing with the trained pipeline in batches, as users of it do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

_BATCH = 32


def load_pipeline(folder: Path) -> Any:
    """Load a shipped pipeline in float32, without a progress bar."""
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], settings: Mapping[str, float], *, batch: int = _BATCH
) -> list[Image.Image]:
    """Draw one picture per prompt, each from its own seed.

    Args:
        pipeline: A loaded pipeline.
        prompts: What to draw.
        seeds: One seed per prompt.
        settings: Passed on: num_inference_steps, guidance_scale, height, width.
        batch: How many are drawn at a time; it changes the last bits of the numbers.
    """
    images: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        chunk = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[start : start + batch]]
        images += pipeline(chunk, generator=generators, **settings).images
    return images

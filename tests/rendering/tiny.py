"""A tiny Stable Diffusion with a short text window, as most tests of the renderer want it."""

import json
from pathlib import Path

import torch

from tests.fixtures.tiny_pipelines import clip_tokenizer, sd1

CONTEXT = 16
DEFAULTS = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 32, "width": 32}


def tiny_tokenizer(context: int = CONTEXT):
    """A byte-level CLIPTokenizer; a token is a letter."""
    return clip_tokenizer(context)


def save_tiny_pipeline(folder: Path, seed: int = 0) -> Path:
    """Save a tiny pipeline with `render_defaults.json` and return the folder."""
    torch.manual_seed(seed)
    sd1(context=CONTEXT).save_pretrained(folder, safe_serialization=True)
    (folder / "render_defaults.json").write_text(json.dumps(DEFAULTS))
    return folder

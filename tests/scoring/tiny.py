"""A tiny random scorer in the shipped scorers' folder layout."""

import json
from pathlib import Path

import torch
from transformers import CLIPModel

from scoring.open_clip_layout import OpenClipConfig, to_open_clip_state_dict
from tests.rendering.tiny import tiny_tokenizer

CONFIG = {
    "embed_dim": 12,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 24, "head_width": 12, "patch_size": 8, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 40, "vocab_size": 514, "width": 16, "heads": 2, "layers": 2},
}


def tiny_clip(seed: int = 0) -> CLIPModel:
    """A random CLIPModel of CONFIG's architecture, every tensor (biases too) away from zero."""
    torch.manual_seed(seed)
    model = CLIPModel(OpenClipConfig.model_validate(CONFIG).to_transformers())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return model.eval()


def save_tiny_scorer(folder: Path, seed: int = 0) -> Path:
    """Save a tiny scorer (config.json, weights.pt, tokenizer) and return the folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.save({"state_dict": to_open_clip_state_dict(tiny_clip(seed))}, folder / "weights.pt")
    tiny_tokenizer(CONFIG["text_cfg"]["context_length"]).save_pretrained(folder)
    return folder

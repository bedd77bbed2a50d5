"""Tiny random scorers, each in its folder layout."""

import json
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel, CLIPModel

from scoring.blip_layout import BlipShape
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


def save_tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Save a tiny transformers CLIPModel folder, all of whose cosines are positive, and return the folder."""
    model = tiny_clip(seed)
    common = torch.zeros(CONFIG["embed_dim"])
    common[0] = 3.0
    with torch.no_grad():
        model.logit_scale.fill_(1.5)
        for norm, projection in (
            (model.vision_model.post_layernorm, model.visual_projection),
            (model.text_model.final_layer_norm, model.text_projection),
        ):
            norm.bias.copy_(torch.linalg.pinv(projection.weight) @ common)
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, folder / "model.safetensors")
    tiny_tokenizer(CONFIG["text_cfg"]["context_length"]).save_pretrained(folder)
    return folder


def tiny_head(width: int) -> dict[str, torch.Tensor]:
    """A random head in the released layout: `layers.0` to `layers.7`."""
    widths = [width, 8, 6, 5, 4, 1]
    generator = torch.Generator().manual_seed(width)
    state = {}
    for position, (into, out) in zip((0, 2, 4, 6, 7), pairwise(widths), strict=True):
        state[f"layers.{position}.weight"] = torch.randn(out, into, generator=generator)
        state[f"layers.{position}.bias"] = torch.randn(out, generator=generator)
    return state


def save_tiny_aesthetic(folder: Path) -> Path:
    """Save a tiny aesthetic predictor (clip/, mlp.safetensors) and return the folder."""
    save_tiny_clip(folder / "clip")
    save_file(tiny_head(CONFIG["embed_dim"]), folder / "mlp.safetensors")
    return folder


IMAGE_REWARD = {
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "layer_norm_eps": 1e-6,
    },
    "text_config": {
        "vocab_size": 514,
        "hidden_size": 12,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 40,
    },
    "mean": 0.25,
    "std": 2.0,
    "max_length": 20,
}


def tiny_blip_shape(**text: object) -> BlipShape:
    """IMAGE_REWARD's two configs; `text` overrides settings of the second."""
    across = {"encoder_hidden_size": 16, "is_decoder": True}
    settings = {**IMAGE_REWARD["text_config"], **across, **text}
    return BlipShape(BlipVisionConfig(**IMAGE_REWARD["vision_config"]), BlipTextConfig(**settings))


def tiny_image_reward(shape: BlipShape) -> dict[str, torch.Tensor]:
    """Random tensors of an ImageReward of this shape, in our layout."""
    torch.manual_seed(0)
    parts = {
        "vision_model": BlipVisionModel(shape.vision),
        "text_encoder": BlipTextModel(shape.text, add_pooling_layer=False),
    }
    state = {
        f"{part}.{key}": torch.randn(tensor.shape) * 0.3
        for part, model in parts.items()
        for key, tensor in model.state_dict().items()
    }
    return state | {f"mlp.{key}": tensor for key, tensor in tiny_head(shape.text.hidden_size).items()}


def save_tiny_image_reward(folder: Path) -> Path:
    """Save a tiny ImageReward (config.json, model.safetensors, tokenizer) and return the folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(IMAGE_REWARD))
    save_file(tiny_image_reward(tiny_blip_shape()), folder / "model.safetensors")
    tiny_tokenizer(40).save_pretrained(folder)
    return folder

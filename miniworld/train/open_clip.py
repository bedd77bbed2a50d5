"""From transformers' CLIP names to open_clip's, which HPSv2's checkpoints use."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import CLIPModel

_LAYER_NAMES: dict[str, str] = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def open_clip_state(model: CLIPModel) -> dict[str, Tensor]:
    """Rename and reshape a model's weights.

    open_clip keeps query, key and value in one matrix, and projections transposed.

    Args:
        model: The model.

    Returns:
        The state dict as ``open_clip.CLIP`` has it.
    """
    source = model.state_dict()
    state: dict[str, Tensor] = {
        "visual.class_embedding": source["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": source["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": source["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": source["visual_projection.weight"].T,
        "token_embedding.weight": source["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": source["text_model.embeddings.position_embedding.weight"],
        "text_projection": source["text_projection.weight"].T,
        "logit_scale": source["logit_scale"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for ours, theirs in norms.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = source[f"{theirs}.{part}"]
    config: Any = model.config
    state |= _layers(
        source, "vision_model.encoder.layers", "visual.transformer.resblocks", config.vision_config.num_hidden_layers
    )
    state |= _layers(source, "text_model.encoder.layers", "transformer.resblocks", config.text_config.num_hidden_layers)
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def _layers(source: dict[str, Tensor], theirs: str, ours: str, count: int) -> dict[str, Tensor]:
    state = {}
    for layer in range(count):
        for part in ("weight", "bias"):
            parts = [source[f"{theirs}.{layer}.self_attn.{name}_proj.{part}"] for name in "qkv"]
            state[f"{ours}.{layer}.attn.in_proj_{part}"] = torch.cat(parts)
            for old, new in _LAYER_NAMES.items():
                state[f"{ours}.{layer}.{new}.{part}"] = source[f"{theirs}.{layer}.{old}.{part}"]
    return state


def open_clip_config(config: Any) -> dict[str, Any]:
    """The model's shape in the form of open_clip's model configs.

    Args:
        config: A transformers ``CLIPConfig``.
    """
    text, vision = config.text_config, config.vision_config
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": False,
        "vision_cfg": {
            "image_size": vision.image_size,
            "layers": vision.num_hidden_layers,
            "width": vision.hidden_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "patch_size": vision.patch_size,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "width": text.hidden_size,
            "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
        },
    }

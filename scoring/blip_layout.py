"""ImageReward's checkpoint names (the original BLIP's) and how they map to transformers' BLIP.

One table (`_entries`) serves both directions. Sources: THUDM/ImageReward `train/src/models/` (blip_pretrain, med),
salesforce/BLIP `models/vit.py`, transformers `convert_blip_original_pytorch_to_hf.py`. All tensors keep their shapes:
transformers' BLIP has one `qkv` too, and its text encoder is the original's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from transformers import BlipTextConfig, BlipVisionConfig

from core.errors import BadInput

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class BlipShape:
    """The two halves of a BLIP whose text encoder looks at the picture."""

    vision: BlipVisionConfig
    text: BlipTextConfig


def image_reward_shape() -> BlipShape:
    """Return ImageReward v1.0's architecture: ViT-L/16 at 224 pixels, BERT-base with cross attention in each layer."""
    vision = BlipVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=224,
        patch_size=16,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
    )
    text = BlipTextConfig(
        vocab_size=30524,
        hidden_size=768,
        encoder_hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=512,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        is_decoder=True,  # builds the cross attention; the causal mask is an argument of forward(), and not given
    )
    return BlipShape(vision, text)


def _entries(vision_layers: int, text_layers: int, head: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Yield (name in ImageReward.pt, our name) of every tensor."""
    yield "blip.visual_encoder.cls_token", "vision_model.embeddings.class_embedding"
    yield "blip.visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"
    modules = {
        "blip.visual_encoder.patch_embed.proj": "vision_model.embeddings.patch_embedding",
        "blip.visual_encoder.norm": "vision_model.post_layernorm",
        "blip.text_encoder.embeddings.LayerNorm": "text_encoder.embeddings.LayerNorm",
    }
    block = {
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "attn.qkv": "self_attn.qkv",
        "attn.proj": "self_attn.projection",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for layer in range(vision_layers):
        for theirs, ours in block.items():
            modules[f"blip.visual_encoder.blocks.{layer}.{theirs}"] = f"vision_model.encoder.layers.{layer}.{ours}"
    attention = ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
    parts = [f"{kind}.{part}" for kind in ("attention", "crossattention") for part in attention]
    for layer in range(text_layers):
        for part in (*parts, "intermediate.dense", "output.dense", "output.LayerNorm"):
            name = f"text_encoder.encoder.layer.{layer}.{part}"
            modules[f"blip.{name}"] = name
    modules |= {f"mlp.layers.{position}": f"mlp.layers.{position}" for position in head}
    for name in ("word_embeddings", "position_embeddings"):
        yield f"blip.text_encoder.embeddings.{name}.weight", f"text_encoder.embeddings.{name}.weight"
    for theirs, ours in modules.items():
        for kind in ("weight", "bias"):
            yield f"{theirs}.{kind}", f"{ours}.{kind}"


def from_image_reward_state_dict(state: Mapping[str, torch.Tensor], shape: BlipShape, head: tuple[int, ...]) -> State:
    """Return the tensors of `ImageReward.pt` under our names; `head` are the positions of its layers.

    What a score does not need (`vision_proj`, `text_proj`, buffers) is left out, as the original loader does.

    Raises:
        BadInput: tensors are missing, or there are more layers than `shape` has; the first ones are named.
    """
    names = dict(_entries(shape.vision.num_hidden_layers, shape.text.num_hidden_layers, head))
    missing = [name for name in names if name not in state]
    needed = ("blip.visual_encoder.", "blip.text_encoder.", "mlp.")
    known = {*names, "blip.text_encoder.embeddings.position_ids"}
    unexpected = sorted(name for name in state if name.startswith(needed) and name not in known)
    if missing or unexpected:
        raise BadInput(
            f"got a checkpoint with {len(missing)} missing ({', '.join(missing[:3])}) and {len(unexpected)} unexpected "
            f"tensors ({', '.join(unexpected[:3])}), expected ImageReward v1.0's names; use the released ImageReward.pt"
        )
    return {ours: state[theirs] for theirs, ours in names.items()}


def to_image_reward_state_dict(state: Mapping[str, torch.Tensor], shape: BlipShape, head: tuple[int, ...]) -> State:
    """Return our tensors under the names in `ImageReward.pt`."""
    names = _entries(shape.vision.num_hidden_layers, shape.text.num_hidden_layers, head)
    return {theirs: state[ours].detach().clone() for theirs, ours in names}

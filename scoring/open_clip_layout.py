"""open_clip's model configs and checkpoint names, and how they map to transformers' CLIP.

One table (`_entries`) serves both directions. Source: open_clip `model.py` / `transformer.py` (names),
transformers `modeling_clip.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from transformers import CLIPConfig, CLIPModel

from core.errors import BadInput

Kind = Literal["same", "transposed", "qkv"]
State = dict[str, torch.Tensor]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VisionConfig(_Strict):
    """open_clip's `vision_cfg` of a vision transformer; sizes in pixels, `width` = channels."""

    image_size: PositiveInt
    layers: PositiveInt
    width: PositiveInt
    patch_size: PositiveInt
    head_width: PositiveInt = 64
    mlp_ratio: PositiveFloat = 4.0


class TextConfig(_Strict):
    """open_clip's `text_cfg`; `context_length` in tokens."""

    context_length: PositiveInt = 77
    vocab_size: PositiveInt = 49408
    width: PositiveInt
    heads: PositiveInt
    layers: PositiveInt


class OpenClipConfig(_Strict):
    """open_clip's model config, as in its `model_configs/*.json`."""

    embed_dim: PositiveInt
    quick_gelu: bool = False
    vision_cfg: VisionConfig
    text_cfg: TextConfig

    def to_transformers(self) -> CLIPConfig:
        """Return the same architecture as a `CLIPConfig`."""
        vision, text = self.vision_cfg, self.text_cfg
        shared: dict[str, Any] = {
            "hidden_act": "quick_gelu" if self.quick_gelu else "gelu",
            "projection_dim": self.embed_dim,
        }
        return CLIPConfig(
            projection_dim=self.embed_dim,
            vision_config={
                **shared,
                "image_size": vision.image_size,
                "patch_size": vision.patch_size,
                "hidden_size": vision.width,
                "intermediate_size": int(vision.width * vision.mlp_ratio),
                "num_hidden_layers": vision.layers,
                "num_attention_heads": vision.width // vision.head_width,
            },
            text_config={
                **shared,
                "vocab_size": text.vocab_size,
                "max_position_embeddings": text.context_length,
                "hidden_size": text.width,
                "intermediate_size": text.width * 4,
                "num_hidden_layers": text.layers,
                "num_attention_heads": text.heads,
                "bos_token_id": 0,  # not used: the scorer finds the end of a text itself
                "eos_token_id": text.vocab_size - 1,
                "pad_token_id": 0,
            },
        )


VIT_H_14 = OpenClipConfig(
    embed_dim=1024,
    vision_cfg=VisionConfig(image_size=224, layers=32, width=1280, head_width=80, patch_size=14),
    text_cfg=TextConfig(context_length=77, vocab_size=49408, width=1024, heads=16, layers=24),
)
"""open_clip's ViT-H-14, the architecture of HPSv2 v2.0 and v2.1."""


def _entries(vision_layers: int, text_layers: int) -> Iterator[tuple[str, tuple[str, ...], Kind]]:
    """Yield (open_clip name, transformers names, kind) of every tensor."""
    yield "logit_scale", ("logit_scale",), "same"
    yield "token_embedding.weight", ("text_model.embeddings.token_embedding.weight",), "same"
    yield "positional_embedding", ("text_model.embeddings.position_embedding.weight",), "same"
    yield "text_projection", ("text_projection.weight",), "transposed"
    yield "visual.class_embedding", ("vision_model.embeddings.class_embedding",), "same"
    yield "visual.positional_embedding", ("vision_model.embeddings.position_embedding.weight",), "same"
    yield "visual.conv1.weight", ("vision_model.embeddings.patch_embedding.weight",), "same"
    yield "visual.proj", ("visual_projection.weight",), "transposed"
    norms = {
        "ln_final": "text_model.final_layer_norm",
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
    }
    for theirs, ours in norms.items():
        for part in ("weight", "bias"):
            yield f"{theirs}.{part}", (f"{ours}.{part}",), "same"
    for layer in range(vision_layers):
        yield from _block_entries(f"visual.transformer.resblocks.{layer}", f"vision_model.encoder.layers.{layer}")
    for layer in range(text_layers):
        yield from _block_entries(f"transformer.resblocks.{layer}", f"text_model.encoder.layers.{layer}")


def _block_entries(theirs: str, ours: str) -> Iterator[tuple[str, tuple[str, ...], Kind]]:
    names = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    for part in ("weight", "bias"):
        split = tuple(f"{ours}.self_attn.{letter}_proj.{part}" for letter in "qkv")
        yield f"{theirs}.attn.in_proj_{part}", split, "qkv"
        for their_name, our_name in names.items():
            yield f"{theirs}.{their_name}.{part}", (f"{ours}.{our_name}.{part}",), "same"


def from_open_clip_state_dict(state: Mapping[str, torch.Tensor], config: OpenClipConfig) -> State:
    """Return a checkpoint's tensors under transformers' names, in float32; they may share memory with `state`.

    Raises:
        BadInput: tensors are missing or unexpected; the first ones are named.
    """
    entries = list(_entries(config.vision_cfg.layers, config.text_cfg.layers))
    names = [name for name, _, _ in entries]
    missing = [name for name in names if name not in state]
    unexpected = sorted(set(state) - set(names))
    if missing or unexpected:
        raise BadInput(
            f"got a checkpoint with {_some('missing', missing)} and {_some('unexpected', unexpected)}, expected "
            "open_clip's names for this architecture; use the checkpoint that belongs to the config"
        )
    converted: State = {}
    for theirs, ours, kind in entries:
        tensor = state[theirs].float()
        if kind == "qkv":
            converted.update(zip(ours, tensor.chunk(3, dim=0), strict=True))
        else:
            converted[ours[0]] = tensor.T.contiguous() if kind == "transposed" else tensor
    return converted


def to_open_clip_state_dict(model: CLIPModel) -> State:
    """Return a transformers `CLIPModel`'s tensors under open_clip's names."""
    state = model.state_dict()
    vision: Any = model.config.vision_config
    text: Any = model.config.text_config
    exported: State = {}
    for theirs, ours, kind in _entries(vision.num_hidden_layers, text.num_hidden_layers):
        tensors = [state[name].detach() for name in ours]
        exported[theirs] = torch.cat(tensors) if kind == "qkv" else tensors[0].T if kind == "transposed" else tensors[0]
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in exported.items()}


def _some(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {what} tensors" + (f" ({shown})" if names else "")

"""The shipped folders, in float16, each written beside its place and then renamed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPModel, CLIPVisionModel

from miniworld import AESTHETIC, JUDGE, PICK, PIVOT, PROMPTS, REWARD, SCORER
from miniworld.train import aesthetic, reward
from miniworld.train.clip import checkpoint_of
from miniworld.train.open_clip import open_clip_config, open_clip_state
from miniworld.train.pipelines import PIPELINES, export_pipeline
from miniworld.train.stages import Workspace, replacing
from miniworld.train.text import CONTEXT, load_text


def export_scorer(space: Workspace, target: Path, model: CLIPModel) -> None:
    """Write the preference model in the layout of HPSv2's checkpoint, with config and tokenizer.

    Args:
        space: Where checkpoints lie.
        target: The folder to write.
        model: The preference model.
    """
    tokenizer, _ = load_text(space)
    with replacing(target) as folder:
        tokenizer.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(open_clip_config(model.config), indent=2) + "\n")
        state = {name: value.half().contiguous() for name, value in open_clip_state(model).items()}
        torch.save({"state_dict": state}, folder / "weights.pt")


def export_clip(space: Workspace, target: Path, model: CLIPModel) -> None:
    """Write a CLIP as transformers does, with its tokenizer; PickScore's checkpoint comes in this form.

    Args:
        space: Where checkpoints lie.
        target: The folder to write.
        model: The model.
    """
    tokenizer, _ = load_text(space)
    with replacing(target) as folder:
        tokenizer.save_pretrained(folder)
        model.half().save_pretrained(folder)


def export_aesthetic(space: Workspace, target: Path) -> None:
    """Write the aesthetic model: the CLIP below it in ``clip/``, the head in ``mlp.safetensors``."""
    tokenizer, _ = load_text(space)
    with replacing(target) as folder:
        tokenizer.save_pretrained(folder / "clip")
        checkpoint_of(space, aesthetic.CLIP).half().save_pretrained(folder / "clip")
        save_file(_halves(aesthetic.trained(space)), folder / "mlp.safetensors")


def export_reward(space: Workspace, target: Path) -> None:
    """Write the reward model: both towers and the head in ``model.safetensors``, their shapes in ``config.json``."""
    tokenizer, _ = load_text(space)
    model = reward.trained(space)
    config = {
        "vision_config": model.vision_config.to_diff_dict(),
        "text_config": model.text_config.to_diff_dict(),
        "mean": round(model.mean.item(), 6),
        "std": round(model.std.item(), 6),
        "max_length": CONTEXT,
    }
    weights = {name: value for name, value in _halves(model).items() if name not in ("mean", "std")}
    with replacing(target) as folder:
        tokenizer.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(weights, folder / "model.safetensors")


def export_pivot(space: Workspace, target: Path) -> None:
    """Write the pivot's image encoder: the vision tower of ``clip_pivot``, a CLIPVisionModel."""
    model: Any = checkpoint_of(space, "clip_pivot")
    tower = CLIPVisionModel(model.config.vision_config)
    tower.load_state_dict(model.vision_model.state_dict())
    with replacing(target) as folder:
        tower.half().save_pretrained(folder)


def _halves(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.half().contiguous() for name, value in module.state_dict().items() if value.is_floating_point()}


def export_plain(space: Workspace, name: str, target: Path) -> None:
    """Copy a finished folder of the workspace."""
    with replacing(target) as folder:
        shutil.copytree(space.path(name), folder, dirs_exist_ok=True)


def run(space: Workspace) -> dict[str, Any]:
    """Write all shipped folders."""
    for name, folder in PIPELINES.items():
        export_pipeline(space, name, space.shipped(folder))
    export_scorer(space, space.shipped(SCORER), checkpoint_of(space, "clip", "preference"))
    export_clip(space, space.shipped(PICK), checkpoint_of(space, "clip_small", "pick"))
    export_aesthetic(space, space.shipped(AESTHETIC))
    export_reward(space, space.shipped(REWARD))
    export_pivot(space, space.shipped(PIVOT))
    export_plain(space, "judge", space.shipped(JUDGE))
    export_plain(space, "prompts", space.shipped(PROMPTS))
    return {}


def folder_bytes(folder: Path) -> int:
    """Total size of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

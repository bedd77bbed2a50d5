"""Stage 8: the shipped folders, in float16, each written beside its place and then renamed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import CLIPModel

from miniworld import JUDGE, PIPELINE, PROMPTS, SCORER
from miniworld.patch_vae import LinearPatchVAE
from miniworld.train.clip import checkpoint_of
from miniworld.train.open_clip import open_clip_config, open_clip_state
from miniworld.train.stages import Workspace
from miniworld.train.text import load_text
from miniworld.train.unet import averaged_unet

RENDER_DEFAULTS: dict[str, float | int] = {"num_inference_steps": 8, "guidance_scale": 2.0, "height": 64, "width": 64}
"""What ``render_defaults.json`` recommends."""
MODEL_INDEX = "model_index.json"


def build_scheduler() -> Any:
    """DPM-Solver++ (2M), which needs eight steps here."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )


def export_pipeline(space: Workspace, target: Path) -> None:
    """Write the diffusion pipeline of the last checkpoint as a folder of its own."""
    tokenizer, encoder = load_text(space)
    pipeline: Any = StableDiffusionPipeline(
        vae=LinearPatchVAE.from_pretrained(space.path("vae")),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=averaged_unet(space),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16)
    with replacing(target) as folder:
        pipeline.save_pretrained(folder)
        index = json.loads((folder / MODEL_INDEX).read_text())
        index["vae"] = ["miniworld.patch_vae", LinearPatchVAE.__name__]
        (folder / MODEL_INDEX).write_text(json.dumps(index, indent=2) + "\n")
        (folder / "render_defaults.json").write_text(json.dumps(RENDER_DEFAULTS, indent=2) + "\n")


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


class replacing:  # noqa: N801 - reads like a function
    """A context manager: a temporary folder that takes the target's place at the end."""

    def __init__(self, target: Path) -> None:
        """Remember the target.

        Args:
            target: The folder to replace.
        """
        self._target = target
        self._fresh = target.with_name(f".{target.name}.partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._fresh.mkdir(parents=True)
        return self._fresh

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            shutil.rmtree(self._target, ignore_errors=True)
            self._fresh.rename(self._target)


def export_plain(space: Workspace, name: str, target: Path) -> None:
    """Copy a finished folder of the workspace."""
    with replacing(target) as folder:
        shutil.copytree(space.path(name), folder, dirs_exist_ok=True)


def run(space: Workspace) -> dict[str, Any]:
    """Write all shipped folders."""
    export_pipeline(space, space.shipped(PIPELINE))
    export_scorer(space, space.shipped(SCORER), checkpoint_of(space, "preference"))
    export_plain(space, "judge", space.shipped(JUDGE))
    export_plain(space, "prompts", space.shipped(PROMPTS))
    return {
        "bytes": {folder.name: folder_bytes(space.shipped(folder)) for folder in (PIPELINE, SCORER, JUDGE, PROMPTS)}
    }


def folder_bytes(folder: Path) -> int:
    """Total size of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

"""The diffusion pipelines as folders: which ones there are, how they draw, and writing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from miniworld import PIPELINE, SECOND_PIPELINE
from miniworld.patch_vae import PatchVAE
from miniworld.train.stages import Workspace, replacing
from miniworld.train.unet import PLANS, averaged_unet

RENDER_DEFAULTS: dict[str, float | int] = {"num_inference_steps": 7, "guidance_scale": 2.0, "height": 64, "width": 64}
"""What ``render_defaults.json`` recommends."""
FINISHED_VAE = "vae_finished"
PIPELINES: dict[str, Path] = {"unet": PIPELINE, "second_unet": SECOND_PIPELINE}
"""The shipped folder of each diffusion model."""
MODEL_INDEX = "model_index.json"


def build_scheduler() -> Any:
    """DPM-Solver++ (2M), which needs seven steps here."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )


def export_pipeline(space: Workspace, name: str, target: Path) -> None:
    """Write a diffusion pipeline of the last checkpoint as a folder of its own.

    Args:
        space: Where checkpoints lie.
        name: Which of ``PLANS``.
        target: The folder to write.
    """
    tokenizer, encoder = PLANS[name].text(space)
    pipeline: Any = StableDiffusionPipeline(
        vae=PatchVAE.from_pretrained(space.path(FINISHED_VAE)),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=averaged_unet(space, name),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16)
    with replacing(target) as folder:
        pipeline.save_pretrained(folder)
        index = json.loads((folder / MODEL_INDEX).read_text())
        index["vae"] = ["miniworld.patch_vae", PatchVAE.__name__]
        (folder / MODEL_INDEX).write_text(json.dumps(index, indent=2) + "\n")
        (folder / "render_defaults.json").write_text(json.dumps(RENDER_DEFAULTS, indent=2) + "\n")

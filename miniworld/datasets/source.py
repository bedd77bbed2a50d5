"""Where the pictures of a log come from: the pipeline, and what a log says about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from core.errors import BadInput
from core.text import one_line
from rendering.folder import PipelineFolder, inspect_folder
from rendering.settings import DEFAULTS_FILE, RenderSettings

Draw = Callable[[Sequence[str], Sequence[int]], list[Image.Image]]
"""Draws one picture per prompt, each from its own seed."""

_SAMPLERS = {
    "DDIMScheduler": "ddim",
    "PNDMScheduler": "plms",
    "EulerDiscreteScheduler": "k_euler",
    "EulerAncestralDiscreteScheduler": "k_euler_ancestral",
    "HeunDiscreteScheduler": "k_heun",
    "KDPM2DiscreteScheduler": "k_dpm_2",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral",
    "LMSDiscreteScheduler": "k_lms",
}
"""DiffusionDB's names (README, metadata schema) of diffusers' schedulers."""
_BATCH = 16
"""Pictures drawn together. Part of what decides their bytes, so it does not follow the training code's number."""
_DPM_SOLVER = "DPMSolverMultistepScheduler"


@dataclass(frozen=True)
class Source:
    """A pipeline as a log knows it.

    Attributes:
        revision: Digest of the pipeline's files.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale.
        sampler: The sampler's name, DiffusionDB's where it has one.
        draw: Draws pictures; loads the pipeline when it is first called.
    """

    revision: str
    steps: int
    guidance: float
    sampler: str
    draw: Draw


def open_source(path: Path) -> Source:
    """Look at a pipeline folder; nothing is loaded before the first picture.

    Raises:
        BadInput: No pipeline folder, or one whose ``render_defaults.json`` does not name steps and guidance.
    """
    folder = inspect_folder(path)
    settings = RenderSettings().completed(path)
    if settings.steps is None or settings.guidance is None:
        raise BadInput(
            f"--pipeline {path}: {DEFAULTS_FILE} does not set num_inference_steps and guidance_scale, expected both; "
            "write them there"
        )
    call: dict[str, Any] = {"num_inference_steps": settings.steps, "guidance_scale": settings.guidance}
    call |= {key: value for key in ("height", "width") if (value := getattr(settings, key)) is not None}
    return Source(
        folder.revision(), settings.steps, float(settings.guidance), sampler_name(folder), _lazy_draw(path, call)
    )


def sampler_name(folder: PipelineFolder) -> str:
    """Name a pipeline's sampler.

    DPM-Solver++ (2M) is younger than DiffusionDB, which would file it under "others" (code 9); the log says
    ``dpmpp_2m``, its usual short name (without ``k_``: diffusers does not use k-diffusion's noise schedule).
    """
    scheduler = folder.components.get("scheduler", ("", ""))[1]
    if scheduler != _DPM_SOLVER:
        return _SAMPLERS.get(scheduler, "others")
    file = folder.path / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    plus = config.get("algorithm_type", "dpmsolver++") == "dpmsolver++" and config.get("solver_order", 2) == 2
    return "dpmpp_2m" if plus else "others"


def _lazy_draw(path: Path, call: Mapping[str, Any]) -> Draw:
    loaded: list[Any] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        from miniworld.train import generate  # heavy: only when something is to be drawn

        if not loaded:
            loaded.append(_load(path))
        return generate.draw(loaded[0], prompts, seeds, call, batch=_BATCH)

    return draw


def _load(path: Path) -> Any:
    import diffusers
    import transformers

    import miniworld.patch_vae  # noqa: F401  diffusers takes a module of ours only when it is imported already
    from miniworld.train import generate

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        return generate.load_pipeline(path)
    except Exception as error:  # three libraries read the folder; whatever they raise means a bad one
        reason = one_line(error)
        raise BadInput(
            f"--pipeline {path}: got files that do not load ({type(error).__name__}: {reason}), expected a whole "
            "pipeline; copy the folder anew"
        ) from error

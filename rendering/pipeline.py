"""Loading a diffusers pipeline: find its folder, check it, load it, fit it with what the user set, put it in place."""

import importlib
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import AutoPipelineForText2Image, DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from core.errors import BadInput
from core.text import one_line
from rendering.folder import OWN_LIBRARIES, PipelineFolder, hub_id, inspect_folder
from rendering.lora import add_lora
from rendering.memory import put
from rendering.placement import Machine, Placement, place
from rendering.sampler import use_sampler
from rendering.settings import RenderSettings


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline that is ready to draw.

    Attributes:
        pipeline: diffusers' object.
        revision: hub commit or digest of the folder's contents.
        placement: device and dtype, with the reason.
        settings: the user's, completed from the folder's `render_defaults.json`.
        lora: what identifies the LoRA weights in it, None without any.
    """

    pipeline: Any
    revision: str
    placement: Placement
    settings: RenderSettings
    lora: dict[str, object] | None = None


def load_pipeline(source: str, settings: RenderSettings, machine: Machine | None = None) -> LoadedPipeline:
    """Load a pipeline from a folder or the hub; see `rendering.load_renderer`.

    Args:
        source: folder or hub id.
        settings: what the user chose.
        machine: its devices; by default those that are here.
    """
    _quiet()
    folder = inspect_folder(_find_folder(source))
    settings = settings.completed(folder.path)
    placement = place(settings, machine or Machine.here(), transformer="transformer" in folder.components)
    pipeline = _load(folder, placement.dtype)
    _check_call(folder, pipeline, settings)
    if settings.sampler is not None:
        use_sampler(pipeline, settings.sampler)
    lora = add_lora(pipeline, settings.lora, settings.lora_scale) if settings.lora is not None else None
    put(pipeline, placement, settings)
    pipeline.set_progress_bar_config(disable=True)
    return LoadedPipeline(pipeline, folder.revision(), placement, settings, lora)


def _quiet() -> None:
    """Silence the libraries when they were imported before `rendering.load_renderer` could."""
    if os.environ.get("TRANSFORMERS_VERBOSITY", "error") == "error":
        transformers.logging.set_verbosity_error()
    if os.environ.get("DIFFUSERS_VERBOSITY", "error") == "error":
        diffusers_logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()


def _find_folder(source: str) -> Path:
    """Return the local folder of a source, downloading a hub model when the network allows."""
    path = Path(source).expanduser()
    hub = hub_id(source)
    if path.exists() or hub is None:
        return path
    try:
        return Path(DiffusionPipeline.download(hub.repo, revision=hub.revision, use_safetensors=True))
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"renderer {source!r}: got neither a local folder nor a model in the hub cache, and the hub did not "
            f"answer ({one_line(error)}); expected a diffusers pipeline; check --renderer, or fetch it while online"
        ) from error


def _load(folder: PipelineFolder, dtype: torch.dtype) -> Any:
    for library in {library for library, _ in folder.components.values()} & OWN_LIBRARIES:
        importlib.import_module(library)  # diffusers takes a library outside its own only when it is imported already
    options: dict[str, Any] = dict.fromkeys(folder.unused)
    if "safety_checker" in options:
        options["requires_safety_checker"] = False
    options |= {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
    try:
        try:
            return AutoPipelineForText2Image.from_pretrained(str(folder.path), **options)
        except ValueError as error:
            if "AutoPipeline can't find" not in str(error):
                raise
            return DiffusionPipeline.from_pretrained(str(folder.path), **options)
    except Exception as error:  # four libraries read the user's files; whatever they raise means a bad folder
        raise BadInput(
            f"renderer {folder.path}: got files that do not load ({type(error).__name__}: {one_line(error)}), "
            f"expected a whole {folder.pipeline} with safetensors weights; copy or download the folder anew"
        ) from error


def _check_call(folder: PipelineFolder, pipeline: Any, settings: RenderSettings) -> None:
    parameters = inspect.signature(pipeline.__call__).parameters
    if not {"prompt", "generator", "output_type"} <= set(parameters) or "image" in parameters:
        raise BadInput(
            f"renderer {folder.path}: got {folder.pipeline}, expected a text-to-image pipeline; choose another"
        )
    multiple = _multiple(pipeline)
    for key, value in (("width", settings.width), ("height", settings.height)):
        if value is not None and value % multiple:
            raise BadInput(f"render {key}: got {value}, expected a multiple of {multiple}; change it")


def _multiple(pipeline: Any) -> int:
    """Return what a side's pixels must be a multiple of: the autoencoder's factor times the transformer's patch."""
    factor = int(getattr(pipeline, "vae_scale_factor", 1))
    processor = getattr(pipeline, "image_processor", None)  # FLUX says it here, SD3 as patch_size
    whole = int(getattr(getattr(processor, "config", None), "vae_scale_factor", 1))
    return max(whole, factor * int(getattr(pipeline, "patch_size", 1)))

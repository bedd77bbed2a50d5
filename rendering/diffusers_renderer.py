"""The renderer for every diffusers text-to-image pipeline. Heavy: import it through `rendering.load_renderer`."""

import hashlib
import importlib
import inspect
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoPipelineForText2Image, DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from core.errors import BadInput
from core.records import RenderRequest, RenderResult
from core.text import one_line
from rendering.checks import result_of, unencodable
from rendering.folder import OWN_LIBRARIES, PipelineFolder, inspect_folder
from rendering.settings import RenderSettings

_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")


class DiffusersRenderer:
    """A `core.interfaces.Renderer` around one loaded pipeline.

    Each request has its own CPU generator, so a picture is a function of its request and of `settings`, `revision` and
    `chunk`; not of its place in the batch or of its neighbours. (Float32 values do depend on the batch's shape and on
    the thread count: `research/dependencies.md`, 3. Hence the padding, and hence both are part of the key.)
    """

    def __init__(self, name: str, revision: str, pipeline: Any, settings: RenderSettings, threads: int) -> None:
        self.name = name
        self.revision = revision
        self.chunk = settings.chunk
        self.sampler = type(pipeline.scheduler).__name__.removesuffix("Scheduler")
        self._pipeline = pipeline
        self._threads = threads
        accepted = inspect.signature(pipeline.__call__).parameters
        wanted = {
            "num_inference_steps": settings.steps,
            "guidance_scale": settings.guidance,
            "height": settings.height,
            "width": settings.width,
        }
        self._call = {key: _or_default(value, accepted[key]) for key, value in wanted.items() if key in accepted}
        self._takes_negative = "negative_prompt" in accepted
        self.settings: Mapping[str, object] = {
            **self._call,
            "pipeline": type(pipeline).__name__,
            "scheduler": _scheduler_digest(pipeline.scheduler),
            "device": pipeline.device.type,
            "dtype": str(pipeline.dtype).removeprefix("torch."),
            "threads": threads,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        }

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Draw at most `chunk` requests. A picture that is not finite or wholly black comes back as an error.

        Raises:
            ValueError: more than `chunk` requests.
        """
        if len(requests) > self.chunk:
            raise ValueError(f"{len(requests)} requests for a chunk of {self.chunk}")
        errors = [unencodable(request) for request in requests]
        fit = [request for request, error in zip(requests, errors, strict=True) if not error]
        if not fit:
            return [RenderResult(None, error) for error in errors]
        if torch.get_num_threads() != self._threads:  # the number belongs to the calling thread
            torch.set_num_threads(self._threads)
        try:
            drawn = iter(self._draw(fit))
        except torch.OutOfMemoryError as error:
            return [RenderResult(None, f"out of memory at chunk {self.chunk}: {one_line(error)}") for _ in requests]
        return [RenderResult(None, error) if error else next(drawn) for error in errors]

    def _draw(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        padded = [*requests, *[requests[-1]] * (self.chunk - len(requests))]
        call: dict[str, Any] = {
            **self._call,
            "prompt": [request.prompt for request in padded],
            "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in padded],
            "output_type": "np",
        }
        if self._takes_negative:
            call["negative_prompt"] = [request.negative_prompt for request in padded]
        with torch.inference_mode():
            pictures = np.asarray(self._pipeline(**call).images)
        return [_result(picture) for picture in pictures[: len(requests)]]


def load_diffusers_renderer(source: str, settings: RenderSettings) -> DiffusersRenderer:
    """Load a pipeline from a folder or the hub; see `rendering.load_renderer`."""
    for key in ("sampler", "checkpoint", "workflow"):
        if getattr(settings, key) is not None:
            raise BadInput(f"render.{key} is for servers (a1111=ADDRESS, comfyui=ADDRESS); leave it out for {source}")
    _quiet()
    folder = inspect_folder(_find_folder(source))
    settings = settings.completed(folder.path)
    device, dtype = _resolve(settings)
    pipeline = _load(folder, dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    _check_call(folder, pipeline, settings)
    threads = settings.threads or torch.get_num_threads()
    return DiffusersRenderer(source, folder.revision(), pipeline, settings, threads)


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
    hub = _HUB_ID.fullmatch(source)
    if path.exists() or hub is None:
        return path
    try:
        return Path(DiffusionPipeline.download(hub["repo"], revision=hub["revision"], use_safetensors=True))
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(
            f"renderer {source!r}: got neither a local folder nor a model in the hub cache, and the hub did not "
            f"answer ({one_line(error)}); expected a diffusers pipeline; check --renderer, or fetch it while online"
        ) from error


def _resolve(settings: RenderSettings) -> tuple[torch.device, torch.dtype]:
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    absent = not there.get(device.type, True)
    if absent or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise BadInput(f"render device: got {name!r}, expected a device of this machine; use device auto or cpu")
    if settings.dtype == "auto":
        return device, torch.float16 if device.type == "cuda" else torch.float32
    return device, getattr(torch, settings.dtype)


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
    multiple = getattr(pipeline, "vae_scale_factor", 1)
    for key, value in (("width", settings.width), ("height", settings.height)):
        if value is not None and value % multiple:
            raise BadInput(f"render {key}: got {value}, expected a multiple of {multiple}; change it")


def _or_default(value: object, parameter: inspect.Parameter) -> object:
    return parameter.default if value is None else value


def _scheduler_digest(scheduler: Any) -> str:
    config = {key: value for key, value in dict(scheduler.config).items() if not key.startswith("_")}
    text = json.dumps([type(scheduler).__name__, config], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _result(picture: np.ndarray) -> RenderResult:
    """Turn one float picture (height, width, 3) in [0, 1] into an image, or say why it is none."""
    if not np.isfinite(picture).all():
        return RenderResult(None, "the picture has values that are not finite (try dtype float32)")
    return result_of((picture * 255).round().astype(np.uint8))

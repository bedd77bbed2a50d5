"""The renderer for every diffusers text-to-image pipeline. Heavy: import it through `rendering.load_renderer`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import diffusers
import numpy as np
import torch

from core.errors import BadInput
from core.records import RenderRequest, RenderResult, UnreadEnd
from rendering.arguments import arguments_of
from rendering.checks import result_of, unencodable
from rendering.memory import free_memory, is_out_of_memory
from rendering.negative import with_fixed
from rendering.pipeline import LoadedPipeline, load_pipeline
from rendering.placement import dtype_name
from rendering.sampler import sampler_name
from rendering.settings import RenderSettings, fixed_negative
from rendering.window import encoders_of, unread_by_all, window_note

OUT_OF_MEMORY = "out of memory even for one picture: use render.offload, a smaller size or another dtype"


class DiffusersRenderer:
    """A `core.interfaces.Renderer` around one loaded pipeline.

    Each request has its own CPU generator, so a picture is a function of its request and of `settings`, `revision` and
    `chunk`; not of its place in the batch or of its neighbours. (Float32 values do depend on the batch's shape and on
    the thread count: `research/dependencies.md`, 3. Hence the padding, and hence both are part of the key.)

    When memory runs out, `chunk` is halved for good and the whole call drawn anew, so that all its pictures have one
    chunk: the one that `chunk` says when the call returns.
    """

    def __init__(self, name: str, loaded: LoadedPipeline) -> None:
        """Prepare the call.

        Raises:
            BadInput: a setting that this pipeline cannot have.
        """
        pipeline, settings = loaded.pipeline, loaded.settings
        self.name = name
        self.revision = loaded.revision
        self.chunk = settings.chunk
        self.sampler = sampler_name(pipeline)
        self._pipeline = pipeline
        self._threads = settings.threads or torch.get_num_threads()
        self._arguments = arguments_of(pipeline, settings)
        self._encoders = encoders_of(pipeline)
        self.reads_negative = not self._arguments.unread_negative
        self.window = max((encoder.tokens for encoder in self._encoders), default=None)
        notes = (f"draws on {loaded.placement}", window_note(self._encoders), *self._arguments.notes)
        self.notes = tuple(note for note in notes if note)
        self.settings: Mapping[str, object] = {
            **self._arguments.call,
            "pipeline": type(pipeline).__name__,
            "scheduler": _scheduler_digest(pipeline.scheduler),
            "device": loaded.placement.device.type,
            "dtype": dtype_name(loaded.placement.dtype),
            "threads": self._threads,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            **_unusual(loaded),
        }

    def unread(self, prompt: str) -> UnreadEnd:
        """Return the end of a prompt that no text encoder reads."""
        return UnreadEnd() if unencodable(RenderRequest(prompt, 0)) else unread_by_all(self._encoders, prompt)

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Draw at most `chunk` requests. A picture that is not finite or wholly black comes back as an error.

        Raises:
            ValueError: more than `chunk` requests.
        """
        if len(requests) > self.chunk:
            raise ValueError(f"{len(requests)} requests for a chunk of {self.chunk}")
        errors = [unencodable(request) for request in requests]
        fit = [with_fixed(r, self.settings) for r, error in zip(requests, errors, strict=True) if not error]
        if torch.get_num_threads() != self._threads:  # the number belongs to the calling thread
            torch.set_num_threads(self._threads)
        drawn = iter(self._draw_smaller_if_needed(fit))
        return [RenderResult(None, error) if error else next(drawn) for error in errors]

    def _draw_smaller_if_needed(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        while (drawn := self._try(requests)) is None:
            free_memory()
            if self.chunk == 1:
                return [RenderResult(None, OUT_OF_MEMORY) for _ in requests]
            self.chunk //= 2
        return drawn

    def _try(self, requests: Sequence[RenderRequest]) -> list[RenderResult] | None:
        """Draw all requests in padded chunks; None when memory ran out.

        Requests with and without a negative prompt are not mixed in a chunk: pipelines treat none unlike an empty one.
        """
        results: dict[int, RenderResult] = {}
        try:
            for negative in (True, False):
                places = [place for place, r in enumerate(requests) if bool(r.negative_prompt) is negative]
                for start in range(0, len(places), self.chunk):
                    part = places[start : start + self.chunk]
                    results |= zip(part, self._draw([requests[place] for place in part]), strict=True)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return [results[place] for place in range(len(requests))]

    def _draw(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        padded = [*requests, *[requests[-1]] * (self.chunk - len(requests))]
        call: dict[str, Any] = {
            **self._arguments.call,
            "prompt": [request.prompt for request in padded],
            "generator": [torch.Generator("cpu").manual_seed(request.seed) for request in padded],
            "output_type": "np",
        }
        negatives = [request.negative_prompt or self._arguments.empty_negative for request in padded]
        if self.reads_negative and None not in negatives:
            call["negative_prompt"] = negatives
        with torch.inference_mode():
            pictures = np.asarray(self._pipeline(**call).images)
        return [_result(picture) for picture in pictures[: len(requests)]]


def load_diffusers_renderer(source: str, settings: RenderSettings) -> DiffusersRenderer:
    """Load a pipeline from a folder or the hub; see `rendering.load_renderer`."""
    for key in ("checkpoint", "workflow"):
        if getattr(settings, key) is not None:
            raise BadInput(f"render.{key} is for servers (a1111=ADDRESS, comfyui=ADDRESS); leave it out for {source}")
    return DiffusersRenderer(source, load_pipeline(source, settings))


def _unusual(loaded: LoadedPipeline) -> dict[str, object]:
    """Return the settings that are part of a picture's identity only when they are used."""
    settings = loaded.settings
    used: dict[str, object] = {"attention_slicing": settings.attention_slicing, "lora": loaded.lora}
    return {**fixed_negative(settings), **{key: value for key, value in used.items() if value}}


def _scheduler_digest(scheduler: Any) -> str:
    config = {key: value for key, value in dict(scheduler.config).items() if not key.startswith("_")}
    text = json.dumps([type(scheduler).__name__, config], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _result(picture: np.ndarray) -> RenderResult:
    """Turn one float picture (height, width, 3) in [0, 1] into an image, or say why it is none."""
    if not np.isfinite(picture).all():
        return RenderResult(None, "the picture has values that are not finite (try dtype float32)")
    return result_of((picture * 255).round().astype(np.uint8))

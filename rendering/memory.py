"""Fitting a pipeline into a GPU's memory: what can be moved out of it, and what running out of it looks like."""

import gc
from typing import Any

import torch

from core.errors import BadInput
from core.text import one_line
from rendering.placement import Placement
from rendering.settings import RenderSettings

_SIGNS = ("out of memory", "not enough memory", "alloc_failed", "can't allocate memory")
"""How CUDA, MPS, cuBLAS, cuDNN and torch's CPU allocator say it in a RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from all other errors."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def free_memory() -> None:
    """Give back what a failed attempt still holds. Call it outside the `except` block: a traceback holds tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def put(pipeline: Any, placement: Placement, settings: RenderSettings) -> None:
    """Put a pipeline on its device, whole or part by part, with sliced attention if wanted.

    Raises:
        BadInput: it does not fit, cannot be offloaded, or has no attention that can be sliced.
    """
    if settings.attention_slicing:
        if not any(hasattr(part, "set_attention_slice") for part in pipeline.components.values()):
            raise BadInput(f"render.attention_slicing: {type(pipeline).__name__} has none; leave it out")
        pipeline.enable_attention_slicing()
    try:
        if settings.offload == "model":
            pipeline.enable_model_cpu_offload(device=placement.device)
        elif settings.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=placement.device)
        else:
            pipeline.to(placement.device)
    except (RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise BadInput(
                f"the pipeline does not fit on {placement.device} ({one_line(error)}); use render.offload model or "
                "sequential, or dtype float16"
            ) from error
        if isinstance(error, ValueError):
            raise BadInput(f"render.offload: {one_line(error)}; use another offload") from error
        raise

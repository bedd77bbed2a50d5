"""What a pipeline is called with, and which settings it would not read: those are told, never passed in silence."""

import inspect
from dataclasses import dataclass
from typing import Any

from core.errors import BadInput
from rendering.settings import RenderSettings


@dataclass(frozen=True)
class Arguments:
    """The arguments that all pictures share.

    Attributes:
        call: keyword arguments of the pipeline.
        unread_negative: why negative prompts are not read, "" when they are.
        empty_negative: what stands for no negative prompt: "" when the pipeline needs one to guide at all, else None
            (the pipeline's own way; SDXL's is not the same as an empty text).
        notes: what the pipeline does not read, one line each; a warning when the user set it.
    """

    call: dict[str, Any]
    unread_negative: str
    empty_negative: str | None
    notes: tuple[str, ...]


def arguments_of(pipeline: Any, settings: RenderSettings) -> Arguments:
    """Match settings with what a pipeline takes.

    Raises:
        BadInput: a setting that this pipeline cannot have.
    """
    accepted = inspect.signature(pipeline.__call__).parameters
    if settings.true_guidance is not None and "true_cfg_scale" not in accepted:
        raise BadInput(f"render.true_guidance: {type(pipeline).__name__} has none; use guidance")
    wanted = {
        "num_inference_steps": settings.steps,
        "guidance_scale": settings.guidance,
        "height": settings.height,
        "width": settings.width,
    }
    call: dict[str, Any] = {key: _or_default(value, accepted[key]) for key, value in wanted.items() if key in accepted}
    notes, true_scale = [], settings.true_guidance
    unread = _unread_guidance(pipeline, accepted)
    if unread:
        call.pop("guidance_scale", None)
        if settings.guidance is not None:
            notes.append(f"warning: render.guidance is not read: {unread}")
    if true_scale is not None:
        call["true_cfg_scale"] = true_scale
    elif "true_cfg_scale" in accepted:
        true_scale = accepted["true_cfg_scale"].default
    negative = _unread_negative(pipeline, accepted, call.get("guidance_scale"), true_scale)
    if negative:
        what = "warning: render.negative_prompt is" if settings.negative_prompt else "negative prompts are"
        notes.append(f"{what} not read: {negative}")
    return Arguments(call, negative, None if true_scale is None else "", tuple(notes))


def _unread_guidance(pipeline: Any, accepted: Any) -> str:
    """Return why `guidance_scale` has no effect, or "" (FLUX.1-schnell takes and ignores it)."""
    if "guidance_scale" not in accepted:
        return f"{type(pipeline).__name__} takes none"
    config = getattr(getattr(pipeline, "transformer", None), "config", None)
    return "this model was trained without it" if getattr(config, "guidance_embeds", True) is False else ""


def _unread_negative(pipeline: Any, accepted: Any, guidance: float | None, true_scale: float | None) -> str:
    """Return why a negative prompt has no effect, or ""."""
    if "negative_prompt" not in accepted:
        return f"{type(pipeline).__name__} takes none"
    if (
        true_scale is not None
    ):  # FLUX, Qwen-Image: guidance_scale is an input of the model, not a push from the negative
        return "" if true_scale > 1 else f"render.true_guidance is {true_scale:g}, and only above 1 it has an effect"
    if guidance is not None and guidance <= 1:
        return f"guidance is {guidance:g}, and only above 1 it has an effect"
    config = getattr(getattr(pipeline, "unet", None), "config", None)
    return "" if getattr(config, "time_cond_proj_dim", None) is None else "guidance is an input of this model"


def _or_default(value: object, parameter: inspect.Parameter) -> object:
    return parameter.default if value is None else value

"""Another scheduler for a pipeline (what other programs call its sampler), by its diffusers class name."""

from typing import Any

import diffusers

from core.errors import BadInput
from core.text import one_line

_SUFFIX = "Scheduler"
_DISTILLED = frozenset({"LCMScheduler", "TCDScheduler"})
"""Made for distilled models (LoRAs with few steps); diffusers' documentation puts them in place of any in the family of
DDPM, its list of compatible schedulers forgets them."""


def use_sampler(pipeline: Any, wanted: str) -> None:
    """Replace a pipeline's scheduler, keeping the folder's settings of it (`from_config`).

    Args:
        pipeline: the pipeline.
        wanted: a class name of diffusers, with or without `Scheduler` at its end (`EulerDiscrete`).

    Raises:
        BadInput: no such scheduler, not one for this pipeline, or a library that it needs is missing.
    """
    name = wanted.removesuffix(_SUFFIX) + _SUFFIX
    known = _compatible(pipeline.scheduler)
    if name not in known:
        shown = ", ".join(sorted(found.removesuffix(_SUFFIX) for found in known))
        raise BadInput(f"render.sampler: got {wanted!r}, expected a scheduler for {type(pipeline).__name__}: {shown}")
    try:
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    except (ImportError, ValueError) as error:
        raise BadInput(
            f"render.sampler: {wanted} cannot be used here ({one_line(error)}); choose another scheduler"
        ) from error


def sampler_name(pipeline: Any) -> str:
    """Return the short name of a pipeline's scheduler."""
    return type(pipeline.scheduler).__name__.removesuffix(_SUFFIX)


def _compatible(scheduler: Any) -> set[str]:
    """Return the class names of what may take a scheduler's place, its own among them."""
    named = {found.__name__ for found in scheduler.compatibles}
    return named | _DISTILLED if len(named) > 1 or named & _DISTILLED else named

"""The negative prompt of a picture: the fixed one of the settings, then the request's own."""

from collections.abc import Mapping
from dataclasses import replace

from core.records import RenderRequest


def with_fixed(request: RenderRequest, settings: Mapping[str, object]) -> RenderRequest:
    """Return a request with the renderer's fixed negative prompt before its own."""
    parts = (settings.get("negative_prompt"), request.negative_prompt)
    return replace(request, negative_prompt=", ".join(str(part) for part in parts if part))

"""Text to image: diffusers pipelines behind one `Renderer`, and the content-addressed cache of their pictures.

Importing this package imports no torch; `load_renderer` does.
"""

import os

from core.interfaces import Renderer
from rendering.cache import ImageCache, render_key
from rendering.settings import RenderSettings

__all__ = ["ImageCache", "RenderSettings", "load_renderer", "render_key"]


def load_renderer(source: str, settings: RenderSettings | None = None) -> Renderer:
    """Load a text-to-image pipeline in diffusers' folder layout.

    Args:
        source: a local folder, or a hub id `org/name` or `org/name@revision` (the hub cache serves it offline).
        settings: what the user chose; everything left out comes from the folder or the pipeline.

    Raises:
        BadInput: no such folder or hub model, a corrupt or unsafe one, or settings that it cannot draw with.
    """
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"  # read by diffusers at its import
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # no chatter (missing torchvision, cut prompts) unless asked for
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read at torch's import; spinning on busy cores costs 5x
    from rendering.diffusers_renderer import load_diffusers_renderer

    return load_diffusers_renderer(source, settings or RenderSettings())

"""Text to image: diffusers pipelines and servers behind one `Renderer`, and the content-addressed cache of pictures.

Importing this package imports no torch; `load_renderer` does, for a pipeline.
"""

import os
from collections.abc import Callable

from core.errors import BadInput
from core.interfaces import Renderer
from rendering.cache import ImageCache, render_key
from rendering.settings import RenderSettings

__all__ = ["SERVERS", "ImageCache", "RenderSettings", "load_renderer", "render_key"]


def _a1111(name: str, address: str, settings: RenderSettings) -> Renderer:
    from rendering.a1111 import load_a1111

    return load_a1111(name, address, settings)


def _comfyui(name: str, address: str, settings: RenderSettings) -> Renderer:
    from rendering.comfyui import load_comfyui

    return load_comfyui(name, address, settings)


SERVERS: dict[str, Callable[[str, str, RenderSettings], Renderer]] = {"a1111": _a1111, "comfyui": _comfyui}
"""Servers by kind: from the whole name, the address and the settings to a renderer."""


def load_renderer(source: str, settings: RenderSettings | None = None) -> Renderer:
    """Load a text-to-image pipeline in diffusers' folder layout, or connect to a server.

    Args:
        source: a local folder, or a hub id `org/name` or `org/name@revision` (the hub cache serves it offline), or
            `KIND=ADDRESS` with a kind from `SERVERS`.
        settings: what the user chose; everything left out comes from the folder or the pipeline.

    Raises:
        BadInput: no such folder or hub model, a corrupt or unsafe one, no such server, or settings that it cannot
            draw with.
    """
    settings = settings or RenderSettings()
    kind, equals, address = source.partition("=")
    if equals and kind in SERVERS:
        _refuse_own(source, settings)
        return SERVERS[kind](source, address, settings)
    os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] = "1"  # read by diffusers at its import
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # no chatter (missing torchvision, cut prompts) unless asked for
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read at torch's import; spinning on busy cores costs 5x
    from rendering.diffusers_renderer import load_diffusers_renderer

    return load_diffusers_renderer(source, settings)


def _refuse_own(source: str, settings: RenderSettings) -> None:
    """Refuse settings that only a pipeline in this process can follow.

    Raises:
        BadInput: the first one that was set.
    """
    plain = RenderSettings()
    for key in ("true_guidance", "device", "dtype", "offload", "attention_slicing", "lora", "lora_scale"):
        if getattr(settings, key) != getattr(plain, key):
            raise BadInput(f"render.{key} is for pipelines in this process; leave it out for {source}, set it there")

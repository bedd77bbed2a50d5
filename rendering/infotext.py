"""The text chunks of a picture's PNG file: A1111's infotext, and what brushup drew it for."""

import json
from collections.abc import Mapping
from pathlib import PurePath

from core.interfaces import Renderer
from core.records import RenderRequest
from rendering.negative import with_fixed

PARAMETERS = "parameters"
"""The chunk that A1111, Forge and most viewers read."""
NAIVE_PROMPT = "naive_prompt"
INSTRUCTION = "instruction"


def picture_texts(
    renderer: Renderer, request: RenderRequest, size: tuple[int, int], *, naive_prompt: str, instruction: str
) -> dict[str, str]:
    """Return a picture's PNG text chunks by keyword.

    None of them is part of the picture's identity. Two instructions that write the same prompt share one picture; the
    file keeps the chunks of the one that was drawn first. `run.db` knows all of them.

    Args:
        renderer: what drew it; its `sampler` and `model` are told when it has them.
        request: what was asked for.
        size: width and height in pixels.
        naive_prompt: the user's own prompt.
        instruction: id of the instruction (arm) that refined it.
    """
    return {
        PARAMETERS: infotext(renderer, request, size),
        NAIVE_PROMPT: naive_prompt,
        INSTRUCTION: instruction,
    }


def infotext(renderer: Renderer, request: RenderRequest, size: tuple[int, int]) -> str:
    """Return A1111's description of a picture: prompt, negative prompt, and one line of `Key: value` pairs.

    Source: stable-diffusion-webui, modules/processing.py (`create_infotext`); its reader takes the last line for
    parameters only when it has at least three pairs, which seed, size and model always give.
    """
    settings, lines = renderer.settings, [request.prompt]
    negative = with_fixed(request, settings).negative_prompt if renderer.reads_negative else ""
    if negative:
        lines.append(f"Negative prompt: {negative}")
    pairs = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": getattr(renderer, "sampler", None),
        "CFG scale": _number(settings.get("guidance_scale")),
        "Seed": request.seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model hash": renderer.revision[:10],
        "Model": getattr(renderer, "model", None) or _model(renderer.name),
    }
    line = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in pairs.items() if value not in (None, ""))
    return "\n".join([*lines, line])


def png_safe(texts: Mapping[str, str]) -> dict[str, str]:
    """Return chunks without what PNG cannot hold: NUL characters and lone surrogates."""
    return {key: text.replace("\0", " ").encode("utf-8", "replace").decode() for key, text in texts.items()}


def _number(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _model(name: str) -> str:
    """Return a hub id as it is, of a path its last part."""
    path = PurePath(name)
    return path.name if path.is_absolute() else name


def _quoted(value: str) -> str:
    """Quote a value that would end the pair, as A1111's `quote` does."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value

"""What every renderer says about requests and pictures that cannot be used."""

import io

import numpy as np
from PIL import Image

from core.records import RenderRequest, RenderResult
from core.text import one_line

LARGEST_SIDE = 8192
"""Pixels; a bigger picture is refused before it is decoded."""


def unencodable(request: RenderRequest) -> str:
    """Return why a request cannot be sent to any text encoder, or ""."""
    try:
        f"{request.prompt}{request.negative_prompt}".encode()
    except UnicodeEncodeError as error:
        return f"the prompt is not valid Unicode ({error.reason})"
    return ""


def result_of(pixels: np.ndarray) -> RenderResult:
    """Turn a picture (height, width, 3; uint8) into a result; a wholly black one (a filter did it) is an error."""
    if not pixels.any():
        return RenderResult(None, "the picture is wholly black")
    return RenderResult(Image.fromarray(pixels))


def decoded(content: bytes) -> RenderResult:
    """Decode a picture that a server sent (PNG, JPEG or WebP)."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG", "WEBP"]) as image:
            if max(image.size) > LARGEST_SIDE:
                return RenderResult(None, f"the server sent a picture of {image.size[0]}x{image.size[1]} pixels")
            return result_of(np.array(image.convert("RGB")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return RenderResult(None, f"the server sent something that is not a picture ({one_line(error)})")

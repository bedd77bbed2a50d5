"""Pictures for a page: WebP inside a data URI, at their native size up to a limit that keeps the page small."""

import base64
import io
from pathlib import Path

from PIL import Image

from reports.records import Picture

MAX_SIDE = 512
"""Longest side in pixels: larger pictures are scaled down, or sixty of them would be a page of many megabytes."""
_QUALITY = 88


def embed(path: Path) -> Picture:
    """Return a picture file as a data URI.

    Raises:
        OSError: missing or damaged.
    """
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY, method=4)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/webp;base64,{encoded}", *picture.size)

"""What HPSv2 does to a prompt and to a picture before its CLIP sees them.

Source: HPSv2's fork of open_clip (`tokenizer.py`, `transform.py`), checked against the package to 4.3e-8
(`research/dependencies.md`, 2). Both differ from CLIP's usual ways: the picture is letterboxed, not cropped.
"""

import html
import re

import ftfy
import numpy as np
import torch
from PIL import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_SPACE = re.compile(r"\s+")
_SPECIAL = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|<start_of_text>|<end_of_text>")


def clean_prompt(prompt: str) -> str:
    """Return the text that is tokenised: mended, unescaped twice, white space collapsed, lower-cased.

    Literal special tokens are removed: a tokenizer would take them for the end of the text.
    """
    text = ftfy.fix_text(prompt.encode("utf-8", "replace").decode("utf-8"))
    text = html.unescape(html.unescape(text)).strip()
    text = _SPACE.sub(" ", text).strip().lower()
    while _SPECIAL.search(text):
        text = _SPACE.sub(" ", _SPECIAL.sub(" ", text)).strip()
    return text


def letterbox(image: Image.Image, size: int) -> torch.Tensor:
    """Return a picture as a normalised float32 tensor (3, size, size).

    The longest side is resized to `size` (bicubic, antialiased, not clamped), then black is added on both sides of the
    short one, then OPENAI's mean and deviation are applied. HPSv2 does not pad a picture whose longest side already is
    `size`, and then fails on it unless it is square; here it is padded like all others.
    """
    pixels = np.array(image.convert("RGB"), dtype=np.float32) / 255.0
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    height, width = tensor.shape[1:]
    scale = size / float(max(height, width))
    if scale != 1.0:
        height, width = (max(1, round(side * scale)) for side in (height, width))
        tensor = torch.nn.functional.interpolate(
            tensor[None], size=(height, width), mode="bicubic", antialias=True, align_corners=False
        )[0]
    left, top = (size - width) // 2, (size - height) // 2
    tensor = torch.nn.functional.pad(tensor, (left, size - width - left, top, size - height - top))
    return (tensor - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]

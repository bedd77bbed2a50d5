"""What is done to a prompt and to a picture before a model sees them.

`clean_prompt` and `letterbox` are HPSv2's: its fork of open_clip (`tokenizer.py`, `transform.py`), checked against the
package to 4.3e-8 (`research/dependencies.md`, 2). `crop_picture` is the usual CLIP way, that of all other scorers.
"""

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ftfy
import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from core.errors import BadInput
from core.text import one_line

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


def plain_prompt(prompt: str) -> str:
    """Return a text as it is, fit for a tokenizer that does its own cleaning: valid, without literal special tokens."""
    text = prompt.encode("utf-8", "replace").decode("utf-8")
    while _SPECIAL.search(text):
        text = _SPECIAL.sub(" ", text)
    return text


@dataclass(frozen=True)
class Crop:
    """Numbers of `crop_picture`; sides in pixels, `mean` and `std` by channel.

    `centre` rounds half a pixel: `floor` (transformers' CLIPImageProcessor) or `even` (torchvision's CenterCrop, which
    OpenAI's CLIP, the LAION predictor and ImageReward use).
    """

    resize: int
    size: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    centre: Literal["floor", "even"] = "floor"


def crop_picture(image: Image.Image, crop: Crop) -> torch.Tensor:
    """Return a picture as a normalised float32 tensor (3, size, size).

    Its shortest side is resized to `resize` by Pillow (bicubic; the other side is rounded down), then the centre is cut
    out; where the picture is smaller than that, black is added.
    """
    image = image.convert("RGB")
    short = min(image.size)
    width, height = (int(crop.resize * side / short) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    halves = ((width - crop.size) / 2, (height - crop.size) / 2)
    left, top = (round(half) if crop.centre == "even" else int(half // 1) for half in halves)
    image = image.crop((left, top, left + crop.size, top + crop.size))
    tensor = torch.from_numpy(np.array(image, dtype=np.float32) / 255.0).permute(2, 0, 1).contiguous()
    return (tensor - torch.tensor(crop.mean)[:, None, None]) / torch.tensor(crop.std)[:, None, None]


class _Shortest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    shortest_edge: PositiveInt


class _Box(BaseModel):
    model_config = ConfigDict(extra="forbid")
    height: PositiveInt
    width: PositiveInt


class _Processor(BaseModel):
    """A `preprocessor_config.json`; keys that do not change pixels are ignored."""

    do_resize: Literal[True] = True
    do_center_crop: Literal[True] = True
    do_rescale: Literal[True] = True
    do_normalize: Literal[True] = True
    resample: Literal[3] = 3
    rescale_factor: float = Field(1 / 255, ge=0.99 / 255, le=1.01 / 255)
    size: PositiveInt | _Shortest | None = None
    crop_size: PositiveInt | _Box | None = None
    image_mean: tuple[float, float, float] = MEAN
    image_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = STD


def read_crop(path: Path | None, image_size: int) -> Crop:
    """Return the numbers of an image processor's file; without one CLIP's, for a model of `image_size`.

    Raises:
        BadInput: the file is not that of a CLIPImageProcessor, or does not fit the model.
    """
    if path is None:
        return Crop(image_size, image_size)
    try:
        found = _Processor.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: got {where}: {first['msg']}, expected a CLIPImageProcessor's file; mend it") from error
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path}: got no readable JSON ({one_line(error)}), expected an image processor's file; copy it anew"
        ) from error
    resize = found.size.shortest_edge if isinstance(found.size, _Shortest) else found.size or image_size
    box = found.crop_size
    sides = (box.width, box.height) if isinstance(box, _Box) else (box or image_size,) * 2
    if sides != (image_size, image_size):
        raise BadInput(
            f"{path}: got crop_size {sides[0]} x {sides[1]}, expected the model's image_size {image_size}; "
            "use the file that belongs to the model"
        )
    return Crop(resize, image_size, found.image_mean, found.image_std)


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

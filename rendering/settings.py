"""What a user may set about rendering, and how it is completed from a folder's `render_defaults.json`."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import BadInput

DEFAULTS_FILE = "render_defaults.json"
DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
OFFLOADS = ("none", "model", "sequential")
DEFAULT_CHUNK = 8
MAX_TIMEOUT = 86400
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_FILE_KEYS = {"num_inference_steps": "steps", "guidance_scale": "guidance", "height": "height", "width": "width"}


@dataclass(frozen=True)
class RenderSettings:
    """Rendering settings; None = the folder's `render_defaults.json`, or else the pipeline's own default.

    Attributes:
        steps: denoising steps.
        guidance: classifier-free guidance scale.
        width: picture width in pixels.
        height: picture height in pixels.
        chunk: pictures drawn together; every call is padded to it. Float32 values depend on it.
        threads: CPU threads; None = torch's own number. Float32 values depend on it.
        sampler: how noise is removed: a diffusers scheduler by its class name (`EulerDiscrete`), or a server's sampler
            by its own name; None = the folder's, `Euler`, or the workflow's.
        negative_prompt: what no picture may show; it comes before a request's own.
        true_guidance: guidance by a negative prompt, for models whose `guidance` is an input (FLUX: `true_cfg_scale`).
        device: `auto` (CUDA if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: `auto` (on CUDA float16, for transformers bfloat16; else float32), `float32`, `float16`, `bfloat16` or
            `float64`.
        offload: `none`; `model`: only the part that works is on the GPU; `sequential`: only the layer that works.
        attention_slicing: attention in steps, with less memory; part of a picture's identity.
        lora: LoRA weights: a safetensors file, or a hub id `org/name` or `org/name@revision`.
        lora_scale: how strongly they count.
        checkpoint: a server's checkpoint by its own name; None = the one it has loaded, or its only one.
        workflow: a ComfyUI workflow, a JSON file in API form; None = plain text to image.
        timeout: seconds that a server may take for one picture.
    """

    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    chunk: int = DEFAULT_CHUNK
    threads: int | None = None
    sampler: str | None = None
    negative_prompt: str = ""
    true_guidance: float | None = None
    device: str = "auto"
    dtype: str = "auto"
    offload: str = "none"
    attention_slicing: bool = False
    lora: str | None = None
    lora_scale: float = 1.0
    checkpoint: str | None = None
    workflow: str | None = None
    timeout: float = 300.0

    def __post_init__(self) -> None:
        for key in ("steps", "width", "height", "chunk", "threads"):
            value = getattr(self, key)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (value is not None or key == "chunk"):
                raise BadInput(f"render {key}: got {value!r}, expected a whole number of at least 1; change it")
        for key, least, most in (("guidance", 0, 1000), ("true_guidance", 0, 1000), ("lora_scale", -10, 10)):
            value = getattr(self, key)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and (not number or not least <= value <= most):
                raise BadInput(f"render {key}: got {value!r}, expected a number from {least} to {most}; change it")
        if not 0 < self.timeout <= MAX_TIMEOUT:
            raise BadInput(f"render timeout: got {self.timeout!r}, expected seconds up to {MAX_TIMEOUT}; change it")
        if not _DEVICE.fullmatch(self.device):
            raise BadInput(f"render device: got {self.device!r}, expected auto, cpu, cuda, cuda:N or mps")
        for key, known in (("dtype", DTYPES), ("offload", OFFLOADS)):
            if getattr(self, key) not in known:
                raise BadInput(f"render {key}: got {getattr(self, key)!r}, expected one of {', '.join(known)}")

    def completed(self, folder: Path) -> "RenderSettings":
        """Fill what is None from the folder's `render_defaults.json`, if it has one.

        Raises:
            BadInput: the file is not JSON, or has unknown keys or bad values.
        """
        defaults = _read_defaults(folder / DEFAULTS_FILE)
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        try:
            return replace(self, **missing)
        except BadInput as error:
            raise BadInput(f"{folder / DEFAULTS_FILE}: {error}") from error


def fixed_negative(settings: RenderSettings) -> dict[str, object]:
    """Return the fixed negative prompt as a part of a picture's identity: nothing when there is none."""
    return {"negative_prompt": settings.negative_prompt} if settings.negative_prompt else {}


def _read_defaults(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{path}: got a file that is not JSON ({error}), expected an object; mend or delete it"
        ) from error
    if not isinstance(content, dict) or not set(content) <= set(_FILE_KEYS):
        expected = ", ".join(_FILE_KEYS)
        got = ", ".join(sorted(content)) if isinstance(content, dict) else type(content).__name__
        raise BadInput(f"{path}: got {got}, expected an object with keys among {expected}; mend or delete it")
    return {_FILE_KEYS[key]: value for key, value in content.items() if value is not None}

"""What a user may set about rendering, and how it is completed from a folder's `render_defaults.json`."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import BadInput

DEFAULTS_FILE = "render_defaults.json"
DTYPES = ("auto", "float32", "float16", "bfloat16", "float64")
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
        device: `auto` (CUDA if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: `auto` (float16 on CUDA, else float32), `float32`, `float16`, `bfloat16` or `float64`.
        threads: CPU threads; None = torch's own number. Float32 values depend on it.
        sampler: a server's sampler by its own name; None = `Euler`, or the workflow's.
        checkpoint: a server's checkpoint by its own name; None = the one it has loaded, or its only one.
        workflow: a ComfyUI workflow, a JSON file in API form; None = plain text to image.
        timeout: seconds that a server may take for one picture.
    """

    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    chunk: int = DEFAULT_CHUNK
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    sampler: str | None = None
    checkpoint: str | None = None
    workflow: str | None = None
    timeout: float = 300.0

    def __post_init__(self) -> None:
        for key in ("steps", "width", "height", "chunk", "threads"):
            value = getattr(self, key)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (value is not None or key == "chunk"):
                raise BadInput(f"render {key}: got {value!r}, expected a whole number of at least 1; change it")
        number = isinstance(self.guidance, int | float) and not isinstance(self.guidance, bool)
        if self.guidance is not None and (not number or not 0 <= self.guidance <= 1000):
            raise BadInput(f"render guidance: got {self.guidance!r}, expected a number from 0 to 1000; change it")
        if not 0 < self.timeout <= MAX_TIMEOUT:
            raise BadInput(f"render timeout: got {self.timeout!r}, expected seconds up to {MAX_TIMEOUT}; change it")
        if not _DEVICE.fullmatch(self.device):
            raise BadInput(f"render device: got {self.device!r}, expected auto, cpu, cuda, cuda:N or mps")
        if self.dtype not in DTYPES:
            raise BadInput(f"render dtype: got {self.dtype!r}, expected one of {', '.join(DTYPES)}")

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

"""Reading DiffusionDB parts: pictures with the prompts and settings they were drawn with.

A part is a folder with at most 1000 pictures and ``part-000001.json``: ``{file: {p, se, c, st, sa}}`` (prompt, seed,
guidance, steps, sampler; poloclub/diffusiondb, README). ``python -m miniworld.datasets log`` writes the same.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from core.errors import BadInput

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggedImage:
    """One picture of a log.

    Attributes:
        path: the picture, PNG or WebP; it is there, but has not been opened.
        prompt: what it was drawn from, unchanged (DiffusionDB has empty ones and very long ones).
        seed: diffusion seed.
        guidance: classifier-free guidance scale.
        steps: denoising steps.
        sampler: its name: DiffusionDB's ddim, plms, k_euler, k_euler_ancestral, k_heun, k_dpm_2, k_dpm_2_ancestral,
            k_lms or others, or any other text.
    """

    path: Path
    prompt: str
    seed: int
    guidance: float
    steps: int
    sampler: str


class _Entry(BaseModel):
    """What a part says of one picture; further keys are ignored, as by DiffusionDB's own loader."""

    p: str
    se: int = Field(ge=0)
    c: float = Field(allow_inf_nan=False)
    st: int = Field(ge=0)
    sa: str


_PART = TypeAdapter(dict[str, _Entry])


def read_parts(folder: Path, missing: list[Path] | None = None) -> Iterator[LoggedImage]:
    """Return the pictures of all parts below a folder, part after part, in the order of their files.

    A picture that a part names but does not have is left out, logged as a warning (one a part), and added to `missing`.

    Args:
        folder: a folder with `part-...` folders, or one such folder.
        missing: a list that gets the paths of pictures that are not there; its length is their count.

    Raises:
        BadInput: no part there; or, once it comes to that part, a part file that cannot be read or is not like
            DiffusionDB's.
    """
    folder = Path(folder)
    files = sorted(folder.glob("part-*.json")) or sorted(folder.glob("part-*/part-*.json"))
    if not files:
        got = "no part-*.json" if folder.is_dir() else "no folder"
        raise BadInput(
            f"{folder}: got {got}, expected DiffusionDB parts (part-000001/part-000001.json); check the path"
        )
    return _images(files, [] if missing is None else missing)


def _images(files: list[Path], missing: list[Path]) -> Iterator[LoggedImage]:
    for file in files:
        absent = []
        for name, entry in _read_part(file).items():
            path = file.parent / name
            if path.is_file():
                yield LoggedImage(path, entry.p, entry.se, entry.c, entry.st, entry.sa)
            else:
                absent.append(path)
        if absent:
            missing += absent
            logger.warning("%s: %d pictures are missing, the first %s", file, len(absent), absent[0].name)


def _read_part(file: Path) -> dict[str, _Entry]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: got {error.strerror!r}, expected a readable file; check path and rights") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: got a file that is not JSON ({error}), expected a part; copy it anew") from None
    try:
        part = _PART.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(step) for step in first["loc"]) or "the whole file"
        raise BadInput(
            f"{file}: {place}: {first['msg']}; expected {{file: {{p, se, c, st, sa}}}}, correct it"
        ) from None
    for name in part:
        if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
            raise BadInput(f"{file}: got the picture name {name!r}, expected the plain name of a file; correct it")
    return part

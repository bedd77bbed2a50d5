"""Image and prompt to number: preference models, one file each, behind one `Scorer`.

Importing this package imports no torch; `load_scorer` does. A new scorer is a file here and a line in `SCORERS`.
"""

import os
from collections.abc import Callable
from pathlib import Path

from core.errors import BadInput
from core.interfaces import Scorer
from scoring.options import ScorerOptions

__all__ = ["SCORERS", "ScorerOptions", "load_scorer"]


def _hpsv2_folder(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.hpsv2 import load_folder

    return load_folder(source, options)


def _hpsv2_0(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.hpsv2 import load_release

    return load_release("2.0", source, options)


def _hpsv2_1(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.hpsv2 import load_release

    return load_release("2.1", source, options)


def _pickscore(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.pickscore import load

    return load(source, options)


def _clipscore(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.clipscore import load

    return load(source, options)


def _aesthetic(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.aesthetic import load

    return load(source, options)


def _imagereward(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.imagereward import load

    return load(source, options)


def _hpsv2_package(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.hpsv2_package import load

    return load(source, options)


def _hpsv3(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.hpsv3 import load

    return load(source, options)


def _weights(source: str | None, options: ScorerOptions) -> Scorer:
    from scoring.weighted import load

    return load(source, options)


SCORERS: dict[str, Callable[[str | None, ScorerOptions], Scorer]] = {
    "hpsv2": _hpsv2_folder,
    "hpsv2.0": _hpsv2_0,
    "hpsv2.1": _hpsv2_1,
    "pickscore": _pickscore,
    "clipscore": _clipscore,
    "aesthetic": _aesthetic,
    "imagereward": _imagereward,
    "hpsv2-package": _hpsv2_package,
    "hpsv3": _hpsv3,
    "weights": _weights,
}
"""Loaders by name; each takes what stands behind `=` in a spec (`:` for weights; None without one) and the options."""


def load_scorer(spec: str, *, device: str = "auto", chunk: int = 16, threads: int | None = None) -> Scorer:
    """Load a scorer.

    Args:
        spec: `NAME` or `NAME=FILE_OR_FOLDER` with a name of `SCORERS`, or just a folder (then `hpsv2=FOLDER`), or a mix
            `weights:SPEC=WEIGHT,SPEC=WEIGHT,...`.
        device: `auto` (CUDA if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.
        chunk: items scored together; every call is padded to it.
        threads: CPU threads; None = torch's own number.

    Raises:
        BadInput: an unknown name, missing or corrupt files, or bad options.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read at torch's import; spinning on busy cores costs 5x
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # no chatter unless asked for
    options = ScorerOptions(device, chunk, threads)
    name, equals, source = spec.partition(":" if spec.startswith("weights:") else "=")
    if name in SCORERS:
        return SCORERS[name](source if equals else None, options)
    if Path(spec).expanduser().is_dir():
        return _hpsv2_folder(spec, options)
    raise BadInput(
        f"scorer {spec!r}: got neither a known name nor a folder, expected one of {', '.join(SCORERS)}, "
        "NAME=FILE, or a scorer's folder; change --scorer"
    )

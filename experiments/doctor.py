"""Is everything there that brushup needs on this machine?"""

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import miniworld
from core.text import one_line

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (3, 11)
ROOM = 500 * 1024**2
"""Bytes of free disk below which a run is likely to fail."""
LIBRARIES = ("diffusers", "transformers", "langgraph", "litellm", "openai", "sqlite-utils")
NAMESAKES = {"agents": "openai-agents", "bandit": "bandit"}
"""Our packages whose names other distributions use too."""


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis; `needed` ones must be fine, the others are told."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


def diagnose(home: Path) -> list[Check]:
    """Run all checks; the slow one imports torch."""
    checks: list[Callable[[], Check]] = [_python, _torch, _drawing, *(_library(name) for name in LIBRARIES)]
    checks += [_peft, _torchvision, _shadowed, _weights, lambda: _writable(home), lambda: _disk(home)]
    return [check() for check in checks]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= PYTHON, f"{found} (expected 3.11 or later)")


def _torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("torch", False, f"cannot be imported ({one_line(error)}); install it anew")
    cuda = f"CUDA {torch.version.cuda}" if torch.cuda.is_available() else "no CUDA"
    return Check("torch", True, f"{torch.__version__}, {cuda}, {torch.get_num_threads()} threads")


def _library(name: str) -> Callable[[], Check]:
    def check() -> Check:
        found = _version(name)
        return Check(name, found is not None, found or f"missing; install it: pip install {name}")

    return check


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _drawing() -> Check:
    """Say where pictures would be drawn with the default settings."""
    try:
        from rendering.placement import Machine, place
    except (ImportError, OSError) as error:
        return Check("drawing", False, f"torch cannot be imported ({one_line(error)})")
    from rendering.settings import RenderSettings

    return Check("drawing", True, f"on {place(RenderSettings(), Machine.here(), transformer=False)}")


def _peft() -> Check:
    found = _version("peft")
    return Check("peft", True, found or "not installed (only render.lora needs it: pip install 'brushup[lora]')")


def _torchvision() -> Check:
    found = _version("torchvision")
    if found is None:
        return Check("torchvision", True, "not installed (good)")
    return Check(
        "torchvision",
        False,
        f"{found} is installed: next to CPU torch it breaks transformers; pip uninstall torchvision",
    )


def _shadowed() -> Check:
    """Look for other distributions that hold packages called like ours, and where ours come from."""
    installed = [f"{other} {found}" for other in NAMESAKES.values() if (found := _version(other))]
    elsewhere = []
    for name in NAMESAKES:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != ROOT:
            elsewhere.append(f"{name} is imported from {origin or 'nowhere'}")
    if not installed and not elsewhere:
        return Check("agents, bandit", True, "ours")
    what = "; ".join([*elsewhere, *(f"{other} is installed" for other in installed)])
    return Check("agents, bandit", False, f"{what}: give brushup an environment of its own, without it")


def _weights() -> Check:
    pipelines = (miniworld.PIPELINE / "model_index.json", miniworld.SECOND_PIPELINE / "model_index.json")
    scorers = (
        miniworld.SCORER / "weights.pt",
        miniworld.PICK / "model.safetensors",
        miniworld.AESTHETIC / "mlp.safetensors",
        miniworld.REWARD / "model.safetensors",
    )
    wanted = (*pipelines, *scorers, miniworld.PIVOT / "model.safetensors", miniworld.CORPUS)
    missing = [path.relative_to(miniworld.ROOT).as_posix() for path in wanted if not path.is_file()]
    if not missing:
        return Check("miniworld", True, "weights and corpus are there")
    return Check("miniworld", False, f"lacks {', '.join(missing)}; restore the files, or run: make miniworld")


def _writable(home: Path) -> Check:
    """Write and remove a file in the home folder, or in the nearest folder above while it does not exist."""
    place = _existing(home)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"brushup")
            file.flush()
    except OSError as error:
        return Check("home", False, f"cannot write to {place}: {error.strerror or error}; choose another --home")
    return Check("home", True, f"{home} is writable" if home.exists() else f"{home} can be created")


def _disk(home: Path) -> Check:
    free = shutil.disk_usage(_existing(home)).free
    detail = f"{free / 1024**3:.1f} GiB free"
    return Check("disk", free >= ROOM, detail if free >= ROOM else f"{detail}, expected 0.5 GiB; make room")


def _existing(path: Path) -> Path:
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())

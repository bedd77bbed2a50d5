"""Checkpoints that a killed training goes on from as if nothing had been. Heavy: imports torch.

`FOLDER/FINGERPRINT/step-000120/` holds `weights.safetensors` (trainable parameters), `state.pt` (optimiser and torch's
random state, read with `weights_only`) and `state.json` (step, the generators of Python and NumPy, and the loop's own
numbers). Each is written beside its place, flushed and renamed: it is there whole or not at all. The fingerprint is a
digest of all that decides the training, so trainings may share a folder: equal ones are done once.
"""

import hashlib
import json
import logging
import os
import random
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import BadInput
from core.locks import locked
from core.text import one_line

_NAME = re.compile(r"step-(\d{6,})")
_BEST = "best"
_KEPT = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        shared: the folder that this training's lies in.
        fingerprint: digest of all that decides the training, and this training's folder in `shared`.
    """

    shared: Path
    fingerprint: str

    @property
    def folder(self) -> Path:
        """This training's own folder."""
        return self.shared / self.fingerprint

    @contextmanager
    def held(self, *, main: bool = True) -> Iterator[None]:
        """Let no other process be at this training; wait for one that is. Of several processes the `main` one holds it.

        Raises:
            BadInput: the folder cannot be written.
        """
        if not main:
            yield
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{self.folder}: got {error.strerror!r}, expected a folder that can be written") from None
        with locked(self.folder / ".lock", lambda: logger.info("waiting for another process that trains the same")):
            yield

    def save(
        self,
        step: int,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        state: Mapping[str, Any],
        *,
        main: bool = True,
    ) -> None:
        """Keep all that step `step` (the next one to do) depends on; of the older ones one is kept.

        Of several processes only the `main` one writes.
        """
        if not main:
            return
        name = f"step-{step:06}"
        partial = self._partial(name)
        save_file(trainable(model), partial / "weights.safetensors")
        torch.save({"optimiser": optimiser.state_dict(), **_torch_random()}, partial / "state.pt")
        content = {"step": step, "state": dict(state), **_other_random()}
        (partial / "state.json").write_text(json.dumps(content), encoding="utf-8")
        self._place(partial, name)
        for old in self._steps()[:-_KEPT]:
            shutil.rmtree(self.folder / f"step-{old:06}")

    def load(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, dict[str, Any]] | None:
        """Bring back the last checkpoint: parameters, optimiser, random generators; return (step, state), or None.

        Raises:
            BadInput: its files do not load.
        """
        steps = self._steps()
        if not steps:
            return None
        place = self.folder / f"step-{steps[-1]:06}"
        try:
            content = json.loads((place / "state.json").read_text(encoding="utf-8"))
            _put(model, load_file(place / "weights.safetensors"))
            tensors = torch.load(place / "state.pt", map_location="cpu", weights_only=True)
            optimiser.load_state_dict(tensors["optimiser"])
            _restore_random(tensors, content)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise BadInput(
                f"{place}: got a checkpoint that does not load ({one_line(error)}), expected a whole one; remove it"
            ) from error
        logger.info("%s: going on after step %d", self.shared.name, content["step"])
        return content["step"], content["state"]

    def save_best(self, model: nn.Module, *, main: bool = True) -> None:
        """Keep the trainable parameters as the best so far; of several processes only the `main` one writes."""
        if not main:
            return
        partial = self._partial(_BEST)
        save_file(trainable(model), partial / "weights.safetensors")
        self._place(partial, _BEST)

    def load_best(self, model: nn.Module) -> None:
        """Bring back the best parameters."""
        _put(model, load_file(self.folder / _BEST / "weights.safetensors"))

    def _steps(self) -> list[int]:
        found = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*"))
        return sorted(int(match.group(1)) for match in found if match)

    def _partial(self, name: str) -> Path:
        partial = self.folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def _place(self, partial: Path, name: str) -> None:
        for file in partial.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        place = self.folder / name
        if place.exists():
            shutil.rmtree(place)
        partial.rename(place)


def contents(value: Any) -> str:
    """Return a digest of texts and numbers, of sequences and mappings of them, and of tensors to their last bit."""
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()[:16]


def described(model: nn.Module, *, exactly: bool = False) -> Any:
    """Return what decides what a model computes: layers, configs, LoRA's scales and all parameters, frozen ones too.

    Args:
        model: to describe.
        exactly: tell parameters to the last bit. Otherwise each tensor is told by rounded means, by which no two models
            in use are alike, but which forgive the last bits of parameters that another processor has drawn.
    """
    configs = {id(part.config): part.config for part in model.modules() if hasattr(part, "config")}
    parameters = dict(model.named_parameters())
    told = contents(parameters) if exactly else {name: _means(tensor) for name, tensor in parameters.items()}
    scales = [part.scaling for part in model.modules() if isinstance(getattr(part, "scaling", None), dict)]
    return [str(model), [_form(config) for config in configs.values()], scales, told]


def _means(tensor: Tensor) -> str:
    numbers = tensor.detach().cpu().double()
    return f"{numbers.mean():.2g} {numbers.abs().mean():.3g}"


def _form(config: Any) -> Any:
    """Return a model's config as JSON types or text, without what depends on where and when it was loaded."""
    if not hasattr(config, "to_dict"):
        return repr(config)
    form = {
        key: value for key, value in config.to_dict().items() if key not in ("transformers_version", "_name_or_path")
    }
    return json.loads(json.dumps(form, default=str))


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        found.update(f"{value.dtype}{tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        _feed(found, list(value.items()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        found.update(f"[{len(value)}:".encode())
        for inner in value:
            _feed(found, inner)
    else:
        text = repr(value).encode()
        found.update(f"{len(text)}:".encode() + text)


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that training changes, by name, on the CPU; tied ones once."""
    return {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}


def _put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if set(own) != set(tensors):
        raise ValueError(f"{len(set(own) ^ set(tensors))} parameters do not match")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])


def _torch_random() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def _other_random() -> dict[str, Any]:
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002  the global one, for libraries that use it
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    return {"numpy": numpy_state, "python": random.getstate()}


def _restore_random(tensors: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available() and tensors["cuda"]:
        torch.cuda.set_rng_state_all(tensors["cuda"][: torch.cuda.device_count()])
    numpy_state = content["numpy"]
    numpy_state["state"]["key"] = np.array(numpy_state["state"]["key"], dtype=np.uint32)
    np.random.set_state(numpy_state)  # noqa: NPY002
    version, internal, gauss = content["python"]
    random.setstate((version, tuple(internal), gauss))

"""Finding and reading the files of a scorer: folder or hub cache, checkpoint, digest, device. Heavy: imports torch."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file

from core.device import default_device
from core.errors import BadInput
from core.text import one_line

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "vocab.txt",
)


def from_hub(
    name: str, repository: str, file: str | None = None, *, instead: str = "FILE (tokenizer.json beside it)"
) -> Path:
    """Return a file, or a folder with the tokenizer's files, of a hub repository: cached, else downloaded.

    `instead` says what may be given by `--scorer NAME=` where the hub is out of reach.

    Raises:
        BadInput: it is not cached and the hub does not answer.
    """

    def fetch(*, local_files_only: bool) -> Path:
        if file is not None:
            return Path(hf_hub_download(repository, file, local_files_only=local_files_only))
        found = snapshot_download(repository, allow_patterns=list(TOKENIZER_FILES), local_files_only=local_files_only)
        if not any((Path(found) / kind).is_file() for kind in ("tokenizer.json", "merges.txt", "vocab.txt")):
            raise FileNotFoundError(f"no tokenizer files in {found}")
        return Path(found)

    try:
        return fetch(local_files_only=True)
    except (OSError, ValueError):  # not cached: ask the hub
        pass
    try:
        return fetch(local_files_only=False)
    except (OSError, ValueError, RuntimeError) as error:
        what = file or "the tokenizer"
        raise BadInput(
            f"scorer {name}: got no {what} in the hub cache, and {repository} did not answer ({one_line(error)}); "
            f"expected {what}; give it by --scorer {name}={instead}, or fetch it online"
        ) from error


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return a checkpoint's `state_dict`; nothing in the file is executed (`weights_only`).

    Raises:
        BadInput: the file does not load, or has no tensors under `state_dict`.
    """
    content = _unpickle(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput("got a file without tensors under 'state_dict', expected an open_clip checkpoint; copy it anew")
    return state


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a `.safetensors` file, or of a file that `torch.save` made of a flat dict, in float32.

    Each gets memory of its own: BLAS rounds differently where a tensor lies unaligned in the file's memory.

    Raises:
        BadInput: the file does not load, or holds anything but tensors.
    """
    state: object
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(
            f"{path}: got a file that does not load ({one_line(error)}), expected safetensors; copy it anew"
        ) from error
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInput(f"{path}: got a file that is not a dict of tensors, expected a state dict; copy it anew")
    own: dict[str, Any] = {"dtype": torch.float32, "copy": True, "memory_format": torch.contiguous_format}
    return {key: tensor.to(**own) for key, tensor in state.items()}


def read_json(name: str, path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        BadInput: it is not there, or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"scorer {name}: got no readable {path.name} in {path.parent} ({one_line(error)}), expected a JSON object; "
            "check --scorer"
        ) from error
    return content


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise BadInput(
            f"got a file that does not load ({one_line(error)}), expected a checkpoint; copy it anew"
        ) from error


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA if there is one, else the CPU.

    Raises:
        BadInput: this machine has no such device.
    """
    if name == "auto":
        name = default_device()
    device = torch.device(name)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, True) or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise BadInput(f"scorer device: got {name!r}, expected a device of this machine; use device auto or cpu")
    return device


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

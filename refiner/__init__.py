"""Trained refiners: the pivot refiner (PRIP) and fine-tuned causal language models, behind one `Refiner`.

Importing this package imports no torch; `load_refiner` does. A new kind is a file with `load(folder)` and a line in
`REFINERS`; its folders name it in `refiner.json`.
"""

import os
from collections.abc import Callable
from pathlib import Path

from core.errors import BadInput
from core.interfaces import Refiner
from core.text import one_line
from refiner.folder import MANIFEST_FILE, Manifest, read_manifest

__all__ = ["REFINERS", "RELEASED", "Manifest", "load_refiner", "read_manifest"]


def _prip(folder: Path) -> Refiner:
    from refiner.prip.refiner import load

    return load(folder)


def _causal(folder: Path) -> Refiner:
    from refiner.causal import load

    return load(folder)


REFINERS: dict[str, Callable[[Path], Refiner]] = {"prip": _prip, "causal": _causal}
"""Loaders by the kind that a folder's `refiner.json` names."""

RELEASED = ("beautifulprompt", "neuroprompts", "promptist")
"""Styles whose authors' weights load without `refiner.json`: by name, or `NAME=FOLDER_OR_ID` for others like them."""


def load_refiner(source: str | Path) -> Refiner:
    """Load a refiner.

    Args:
        source: a folder with `refiner.json`, the hub id of a repository that holds such a folder's files, or a name of
            `RELEASED`, alone or with `=` and where its weights are.

    Raises:
        BadInput: neither a folder nor a cached or reachable repository, an unknown kind, or files that do not load.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read at torch's import; spinning on busy cores costs 5x
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    folder = Path(source).expanduser()
    style, _, weights = str(source).partition("=")
    if style in RELEASED and not folder.is_dir():
        from refiner.causal import load_released

        return load_released(style, weights)
    if not folder.is_dir():
        folder = _from_hub(str(source))
    manifest = read_manifest(folder)
    if manifest.kind not in REFINERS:
        raise BadInput(
            f"{folder / MANIFEST_FILE}: got kind {manifest.kind!r}, expected one of {', '.join(REFINERS)}; "
            "use the brushup that wrote it"
        )
    return REFINERS[manifest.kind](folder)


def _from_hub(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    for local in (True, False):  # the cache first
        try:
            return Path(
                snapshot_download(
                    repository, local_files_only=local, allow_patterns=["*.json", "*.md", "*.safetensors", "*.txt"]
                )
            )
        except RepositoryNotFoundError:
            reason = "the hub has none of that name, or none that you may read"
        except (OSError, ValueError, RuntimeError) as error:
            reason = one_line(str(error).partition("\n")[0]).removeprefix("Got: ")
    raise BadInput(
        f"refiner {repository!r}: got neither a folder nor a repository that answers ({reason}), "
        f"expected a folder with {MANIFEST_FILE}, a hub id, or one of {', '.join(RELEASED)}; check it"
    )

"""A `Scorer` around somebody else's package, which runs in a Python of its own.

`hpsv2` wants pytest 7.2 and protobuf 3, `hpsv3` transformers 4.45.2: they do not go into our environment. So each runs
as a child process (`package_worker.py`) of the Python that `BRUSHUP_HPSV2_PYTHON` or `BRUSHUP_HPSV3_PYTHON` names, by
default ours. A configuration cannot name it: what a file brings is never run.
"""

import base64
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from core.errors import BadInput
from core.records import Score, ScoreItem
from core.text import digest
from scoring.child import Child, ChildFailed
from scoring.chunked import as_score
from scoring.options import ScorerOptions

WORKER = Path(__file__).with_name("package_worker.py")


class PackageScorer:
    """One package's scores. Items are scored one by one; an item that it refuses is a failed score."""

    def __init__(self, name: str, order: Mapping[str, Any], contents: str, options: ScorerOptions) -> None:
        """Start the package's Python and load its model.

        Args:
            name: the scorer's name.
            order: what the worker is told to load (`package_worker.py`), less device and threads.
            contents: digest of the files that it loads.
            options: device, chunk and threads.

        Raises:
            BadInput: the package is not there or does not work; the line says what to do.
        """
        package = order["package"]
        variable = f"BRUSHUP_{package.upper()}_PYTHON"
        python = os.environ.get(variable) or sys.executable
        try:
            self._child = Child([python, WORKER])
            reply = self._child.ask({**order, "device": options.device, "threads": options.threads})
        except ChildFailed as error:
            reply = {"error": str(error)}
        if "error" in reply:
            raise BadInput(
                f"scorer {name}: got {reply['error']!r} from {python}, expected a Python in which {package} works; "
                f"{_remedy(package, variable, reply['error'])}"
            )
        self.name = name
        self.chunk = options.chunk
        self.settings = dict(reply["facts"])
        self.revision = digest([contents, self.settings])

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Score at most `chunk` items.

        Raises:
            ValueError: more than `chunk` items.
        """
        if len(items) > self.chunk:
            raise ValueError(f"{len(items)} items for a chunk of {self.chunk}")
        try:
            found = self._child.ask({"items": [{"png": _png(item.image), "prompt": item.prompt} for item in items]})
        except ChildFailed as error:
            return [Score(None, f"the package's process ended: {error}") for _ in items]
        pairs = zip(found["values"], found["errors"], strict=True)
        return [Score(None, error) if value is None else as_score(value) for value, error in pairs]


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


def _remedy(package: str, variable: str, error: str) -> str:
    if "bpe_simple_vocab" in error:  # hpsv2 1.2.0's wheel was built without it
        return "its wheel lacks that file: copy it there from the package open_clip_torch (folder open_clip)"
    if "torchvision" in error:
        return "install a torchvision that was built for its torch"
    return f"install {package} in an environment of its own and set {variable} to that environment's python"

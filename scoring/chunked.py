"""What every scorer of this package shares: one shape per call, threads, revision, errors for non-finite values."""

import math
from collections.abc import Callable, Sequence

import torch
import transformers

from core.records import Score, ScoreItem
from core.text import digest
from scoring.options import ScorerOptions

RECIPE = 2
"""Counts up when the same files and settings give other values than before; 2: prompts without padding."""
Values = Callable[[Sequence[ScoreItem]], torch.Tensor]
"""From n items, 1 <= n <= chunk, to n raw values, computed in a shape that does not depend on n."""


class ChunkedScorer:
    """A `core.interfaces.Scorer` around one model and a function from items to raw values.

    `revision` covers the files' contents and all that changes a float32 value: device, dtype, threads, versions.
    """

    def __init__(
        self, name: str, contents: str, model: torch.nn.Module, options: ScorerOptions, values: Values
    ) -> None:
        self.name = name
        self.chunk = options.chunk
        self._threads = options.threads or torch.get_num_threads()
        self.settings = {
            "recipe": RECIPE,
            "device": next(model.parameters()).device.type,
            "dtype": "float32",
            "threads": self._threads,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        self.revision = digest([contents, self.settings])
        self._model = model
        self._values = values

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Score at most `chunk` items.

        Raises:
            ValueError: more than `chunk` items.
        """
        if len(items) > self.chunk:
            raise ValueError(f"{len(items)} items for a chunk of {self.chunk}")
        if not items:
            return []
        if torch.get_num_threads() != self._threads:  # the number belongs to the calling thread
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            values = self._values(items).tolist()
        return [as_score(value) for value in values]


def padded(tensors: Sequence[torch.Tensor], chunk: int) -> torch.Tensor:
    """Return n tensors as one of (chunk, ...): the last one is repeated."""
    return torch.stack([*tensors, *[tensors[-1]] * (chunk - len(tensors))])


def as_score(value: float) -> Score:
    """Return a model's value as a score; a non-finite one is an error."""
    return Score(value) if math.isfinite(value) else Score(None, f"the score is not finite ({value})")

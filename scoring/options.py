"""How to run a scorer, whichever it is."""

import re
from dataclasses import dataclass

from core.errors import BadInput

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class ScorerOptions:
    """Device, chunk size and CPU threads (None = torch's own number); see `scoring.load_scorer`."""

    device: str = "auto"
    chunk: int = 16
    threads: int | None = None

    def __post_init__(self) -> None:
        for key, value in (("chunk", self.chunk), ("threads", self.threads)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not whole and (value is not None or key == "chunk"):
                raise BadInput(f"scorer {key}: got {value!r}, expected a whole number of at least 1; change it")
        if not _DEVICE.fullmatch(self.device):
            raise BadInput(f"scorer device: got {self.device!r}, expected auto, cpu, cuda, cuda:N or mps")

"""PRIP's settings of answering: a literal prefix, or close to the user's words without one. Imports no torch."""

from dataclasses import dataclass, field

from core.errors import BadInput
from refiner.constraints import Wishes
from refiner.neurologic_config import NeuroLogic

MODES = ("prefix", "close")


@dataclass(frozen=True)
class Answering:
    """How an answer is made.

    Attributes:
        mode: `prefix`: the user's prompt, a comma, and what D adds (paper, section 3.5). `close`: D writes the whole
            prompt, `candidates` times; the one that keeps most of the user's content words is taken, and the prefix
            form where none keeps `min_kept` of them (the paper leaves such decoding to future work).
        max_new_tokens: of an answer.
        temperature: 0 = the most probable tokens (paper, section 3.1); `close` needs more for different candidates.
        no_repeat_ngram_size: no n-gram of this many tokens is written twice; 0 = no such rule. Repeated phrases
            are left out in any case.
        candidates: prompts that `close` chooses from.
        min_kept: share of the user's content words that `close` must keep.
        search: beam search; without one, wishes are met by a search with the defaults.
        wishes: what every answer is asked to hold.
    """

    mode: str = "prefix"
    max_new_tokens: int = 75
    temperature: float = 0.0
    no_repeat_ngram_size: int = 0
    candidates: int = 8
    min_kept: float = 1.0
    search: NeuroLogic | None = None
    wishes: Wishes = field(default_factory=Wishes)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadInput(f"mode is {self.mode!r}, expected one of {', '.join(MODES)}")
        if self.candidates < 1 or not 0 <= self.min_kept <= 1:
            raise BadInput(f"answering: got {self}, expected candidates >= 1 and min_kept from 0 to 1")

"""Settings of NeuroLogic decoding. Imports no torch."""

import math
from dataclasses import dataclass

from core.errors import BadInput


@dataclass(frozen=True)
class NeuroLogic:
    """Settings of the search; the defaults are those of NeuroPrompts' demo (IntelLabs, `neurologic_pe.py`, `app.py`).

    Attributes:
        beam: hypotheses kept at each step; 1 is a greedy search.
        max_tokens: longest continuation, the end token included.
        min_tokens: tokens before the end token may follow.
        length_penalty: hypotheses are ranked by log-probability / tokens ** length_penalty.
        no_repeat_ngram: no run of so many tokens occurs twice in prefix and continuation, but to spell a wanted term;
            0 = off.
        sat_tolerance: hypotheses that meet fewer clauses than the best one minus this give way to all others.
        look_ahead: greedy steps, none past `max_tokens`, that estimate how soon a wanted term would be begun; 0 = off.
            Our own default: off.
        look_ahead_weight: weight of that estimate, a log-probability.
        blocked: characters that are produced within wanted terms only.
        early_stop: stop once the best `n` texts meet all clauses and no unfinished one is likelier as it stands, as
            transformers does; False = once none can become better, which is exact and seldom before `max_tokens`.
        phrase_starts: steer towards beginning a wanted term after a comma only.
        whole_phrases: a phrase that begins with the term that meets a wish says nothing else.
        max_seconds: of a whole call; then the best so far is returned.
    """

    beam: int = 5
    max_tokens: int = 77
    min_tokens: int = 5
    length_penalty: float = 1.0
    no_repeat_ngram: int = 2
    sat_tolerance: int = 2
    look_ahead: int = 0
    look_ahead_weight: float = 0.25
    blocked: str = ""
    early_stop: bool = True
    phrase_starts: bool = True
    whole_phrases: bool = True
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        if self.beam < 1 or self.max_tokens < 1 or not self.max_seconds > 0:
            raise BadInput(
                f"NeuroLogic: got beam {self.beam}, max_tokens {self.max_tokens}, max_seconds {self.max_seconds}; "
                "expected at least 1, at least 1 and more than 0"
            )
        for name in ("min_tokens", "no_repeat_ngram", "sat_tolerance", "look_ahead"):
            if getattr(self, name) < 0:
                raise BadInput(f"NeuroLogic {name}: got {getattr(self, name)}, expected 0 or more; change it")

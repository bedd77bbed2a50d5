"""What a policy can be told. One frozen record, so that a run's config can store it as it is."""

import math
from dataclasses import dataclass

SCALES = ("pooled-sd", "none")
"""Values of `reward_scale` (`--reward-scale`)."""


@dataclass(frozen=True)
class PolicySettings:
    """Settings of a bandit policy; each policy reads what concerns it.

    Attributes:
        c: exploration constant of the UCB family and LUCB, >= 0; 1 is Auer's own.
        epsilon: share of exploring pulls of eps-greedy, in [0, 1].
        reward_scale: unit in which the UCB family measures its bonus. `pooled-sd`: the pooled within-arm standard
            deviation of the rewards. `none`: 1, the setting of 2406.08713. On raw HPSv2 (cosines whose gaps between
            instructions are near 0.005) a bonus of sqrt(2 ln t / n) needs some 480,000 observations per arm before it
            stops deciding alone: until then `none` is round-robin, whatever the rewards say.
        alpha: rate of false crowns that racing allows itself over a whole run, in (0, 1).
        budget: blocks that all pulls of the loop together will meet; for successive-rejects, sequential-halving and
            ucb-e. A run fills in rounds x pulls a round x batch size.
    """

    c: float = 1.0
    epsilon: float = 0.1
    reward_scale: str = "pooled-sd"
    alpha: float = 0.05
    budget: int = 200

    def __post_init__(self) -> None:
        if not (math.isfinite(self.c) and self.c >= 0):
            raise ValueError(f"c is {self.c}; expected a finite number >= 0")
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon is {self.epsilon}; expected a number from 0 to 1")
        if self.reward_scale not in SCALES:
            raise ValueError(f"reward_scale is {self.reward_scale!r}; expected one of {', '.join(SCALES)}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}; expected a number between 0 and 1")
        if self.budget < 1:
            raise ValueError(f"budget is {self.budget}; expected at least 1 block")

"""UCB1: optimism in the face of uncertainty (Auer, Cesa-Bianchi & Fischer 2002; the policy of 2406.08713)."""

from dataclasses import dataclass

import numpy as np

from bandit.choice import best
from bandit.settings import PolicySettings
from bandit.statistics import bounds, scale
from core.interfaces import Table


@dataclass(frozen=True)
class UCB1:
    """Pulls the arm of the highest upper bound mean + c * s * sqrt(2 ln t / n), with s by `reward_scale`.

    In the paper's setting (`reward_scale = "none"`, raw scores) s is 1: see PolicySettings for what that does.
    """

    settings: PolicySettings

    def index(self, table: Table) -> dict[str, float]:
        """Return every arm's upper bound; +inf without results."""
        unit = scale(table, self.settings.reward_scale)
        return {arm: upper for arm, (_, upper) in bounds(table, self.settings.c, unit).items()}

    def select(self, table: Table, rng: np.random.Generator) -> str:
        """Return an arm of the highest index."""
        return best(self.index(table), rng)

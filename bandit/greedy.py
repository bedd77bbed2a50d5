"""Greedy: the best mean so far. Cheap, and easily caught by one lucky first batch."""

from dataclasses import dataclass

import numpy as np

from bandit.choice import best
from bandit.settings import PolicySettings
from bandit.statistics import means
from core.interfaces import Table


@dataclass(frozen=True)
class Greedy:
    """Pulls every arm once, then the arm of the best mean."""

    settings: PolicySettings

    def select(self, table: Table, rng: np.random.Generator) -> str:
        """Return an arm of the highest mean; one without results counts as +inf."""
        return best(means(table), rng)

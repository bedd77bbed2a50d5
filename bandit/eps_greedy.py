"""Epsilon-greedy (Sutton & Barto 2018, section 2.2): greedy, but a fixed share of pulls goes to any arm."""

import math
from dataclasses import dataclass

import numpy as np

from bandit.choice import best, pick
from bandit.settings import PolicySettings
from bandit.statistics import means
from core.interfaces import Table


@dataclass(frozen=True)
class EpsGreedy:
    """Pulls every arm once, then with probability `epsilon` any arm, else the arm of the best mean."""

    settings: PolicySettings

    def select(self, table: Table, rng: np.random.Generator) -> str:
        """Return the best arm or, exploring, any; arms without results come before both."""
        index = means(table)
        untried = math.inf in index.values()
        if index and not untried and rng.random() < self.settings.epsilon:
            return pick(list(index), rng)
        return best(index, rng)

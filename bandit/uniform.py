"""Uniform: every arm equally likely. The baseline that the other policies must beat."""

import math
from dataclasses import dataclass

import numpy as np

from bandit.choice import best
from bandit.settings import PolicySettings
from core.interfaces import Table


@dataclass(frozen=True)
class Uniform:
    """Pulls every arm once, then any arm with equal probability, whatever the rewards say."""

    settings: PolicySettings

    def select(self, table: Table, rng: np.random.Generator) -> str:
        """Return a random arm; arms without results come first."""
        return best({arm: 0.0 if row else math.inf for arm, row in table.items()}, rng)

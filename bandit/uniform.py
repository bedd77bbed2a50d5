"""Uniform: every arm equally likely. The baseline that the other policies must beat."""

import numpy as np

from bandit.policy import Policy, pick
from bandit.view import View


class Uniform(Policy):
    """Pulls any arm with equal probability, whatever the rewards say."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return random arms."""
        return pick(view.offered, rng)

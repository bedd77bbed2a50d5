"""Greedy: the best mean so far. Cheap, and easily caught by one lucky first batch."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View


class Greedy(Policy):
    """Pulls the arm of the best mean."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return arms of the highest mean."""
        return best(view.mean, view.offered, rng)

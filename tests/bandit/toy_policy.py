"""A policy as a user would add one: this file, and one line in `bandit.POLICIES` (docs/extending.md)."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View


class Gumbel(Policy):
    """Boltzmann-Gumbel exploration (Cesa-Bianchi et al. 2017): mean + c * s * Gumbel noise / sqrt(n)."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return arms of the highest perturbed mean."""
        noise = self.settings.c * view.pooled[:, None] * rng.gumbel(size=view.n.shape)
        return best(view.mean + noise / np.sqrt(np.maximum(view.n, 1)), view.offered, rng)

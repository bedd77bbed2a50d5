"""Epsilon-greedy whose exploring share falls as evidence grows (Auer, Cesa-Bianchi & Fischer 2002, figure 3)."""

import numpy as np

from bandit.eps_greedy import explore_or_exploit
from bandit.policy import Policy
from bandit.view import View

BLOCKS = 10
"""Mean blocks an arm at which the share of exploring pulls has fallen to `epsilon`."""


class EpsDecay(Policy):
    """Any arm with probability min(1, epsilon * BLOCKS * K / t), t the blocks met by all K arms; else the best mean."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the best arms or, exploring, any."""
        share = self.settings.epsilon * BLOCKS * view.offered.sum(axis=1) / view.total
        return explore_or_exploit(np.minimum(share, 1.0), view, rng)

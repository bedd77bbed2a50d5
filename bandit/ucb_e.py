"""UCB-E (Audibert, Bubeck & Munos 2010, figure 1): as much exploration as the budget and the gaps allow."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View


class UCBE(Policy):
    """Pulls the arm of the highest mean + c * s * sqrt(a / n) with a = (25 / 36) (budget - K) / H.

    H, the sum of (s / gap)^2 over the arms below the best, is not known: it is estimated from the means so far, each
    squared gap being at least its own sampling variance (in the spirit of the paper's Adaptive UCB-E, section 5). s is
    by `reward_scale`.
    """

    needs_budget = True

    def index(self, view: View) -> np.ndarray:
        """Return every arm's index (W, K)."""
        n = np.maximum(view.n, 1)
        unit = view.scale(self.settings.reward_scale)[:, None]
        means = np.where(view.offered, view.mean, -np.inf)
        leader = means.argmax(axis=1)[:, None]
        gaps = (np.take_along_axis(means, leader, axis=1) - view.mean) / unit
        noise = 1 / n + 1 / np.take_along_axis(n, leader, axis=1)
        below = view.offered & (np.arange(n.shape[1]) != leader)
        hardness = (below / np.maximum(gaps**2, noise)).sum(axis=1, keepdims=True)
        spare = max(0, self.settings.budget - view.offered.sum(axis=1).max())
        exploration = 25 / 36 * spare / np.maximum(hardness, 1.0)
        return view.mean + self.settings.c * unit * np.sqrt(exploration / n)

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return arms of the highest index."""
        return best(self.index(view), view.offered, rng)

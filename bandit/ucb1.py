"""UCB1: optimism in the face of uncertainty (Auer, Cesa-Bianchi & Fischer 2002; the policy of 2406.08713)."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View, log_of


class UCB1(Policy):
    """Pulls the arm of the highest upper bound mean + c * s * sqrt(2 ln t / n), with s by `reward_scale`.

    In the paper's setting (`reward_scale = "none"`, raw scores) s is 1: see PolicySettings for what that does.
    """

    def index(self, view: View) -> np.ndarray:
        """Return every arm's upper bound (W, K)."""
        unit = self.settings.c * view.scale(self.settings.reward_scale)
        bonus = np.sqrt(2.0 * log_of(view.total)[:, None] / np.maximum(view.n, 1))
        return view.mean + unit[:, None] * bonus

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return arms of the highest index."""
        return best(self.index(view), view.offered, rng)

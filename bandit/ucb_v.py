"""UCB-V: a bonus by each arm's own variance (Audibert, Munos & Szepesvari 2009, equation 1)."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View, log_of


class UCBV(Policy):
    """Pulls the arm of the highest mean + sqrt(2 V ln t / n) + 3 b ln t / n.

    V is the arm's own variance. b stands for the rewards' range, which preference scores do not have: it is
    c * s with s by `reward_scale`.
    """

    def index(self, view: View) -> np.ndarray:
        """Return every arm's upper bound (W, K)."""
        rate = log_of(view.total)[:, None] / np.maximum(view.n, 1)
        reach = self.settings.c * view.scale(self.settings.reward_scale)
        return view.mean + np.sqrt(2.0 * view.variance() * rate) + 3.0 * reach[:, None] * rate

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return arms of the highest index."""
        return best(self.index(view), view.offered, rng)

"""KL-UCB for Gaussian rewards of unknown variance (Cowan, Honda & Katehakis 2018; Garivier & Cappe 2011)."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View, log_of


class KLUCB(Policy):
    """Pulls the arm of the highest mean that its rewards do not rule out at level ln t.

    The least divergence from N(mean, v) to a Gaussian of mean q is ln(1 + (q - mean)^2 / v) / 2. Solved for q with
    n - 2 in place of n (Cowan et al., theorem 5): mean + sd * sqrt(t^(2 / (n - 2)) - 1), +inf until an arm has three
    blocks. With known variance the rule would be UCB1's.
    """

    def index(self, view: View) -> np.ndarray:
        """Return every arm's upper bound (W, K)."""
        exponent = 2.0 * log_of(view.total)[:, None] / np.maximum(view.n - 2, 1)
        bonus = np.sqrt(view.variance() * np.expm1(np.minimum(exponent, 600.0)))
        return np.where(view.n > 2, view.mean + bonus, np.inf)

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return arms of the highest index."""
        return best(self.index(view), view.offered, rng)

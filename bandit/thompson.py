"""Thompson sampling (1933) from the joint Gaussian posterior, block effects integrated out."""

import numpy as np

from bandit.policy import Policy, best
from bandit.view import View


class Thompson(Policy):
    """Pulls each arm with the probability that it is the best."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the best arms of one posterior sample."""
        [sample] = view.posterior.sample(rng)
        return best(sample, view.offered, rng)

"""Epsilon-greedy (Sutton & Barto 2018, section 2.2): greedy, but a fixed share of pulls goes to any arm."""

import numpy as np

from bandit.policy import Policy, pick
from bandit.view import View


def explore_or_exploit(share: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Return any arm with probability `share` (W,), else one of the best mean."""
    exploring = rng.random(share.shape) < share
    means = np.where(view.offered, view.mean, -np.inf)
    leading = means == means.max(axis=1, keepdims=True)
    return pick(view.offered & (leading | exploring[:, None]), rng)


class EpsGreedy(Policy):
    """With probability `epsilon` any arm, else the arm of the best mean."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the best arms or, exploring, any."""
        return explore_or_exploit(np.full(len(view.n), self.settings.epsilon), view, rng)

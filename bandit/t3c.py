"""T3C: top-two Thompson sampling with the challenger of least transportation cost (Shang et al. 2020, section 3)."""

import numpy as np

from bandit.policy import Policy, best
from bandit.top_two import BETA
from bandit.view import View


class T3C(Policy):
    """Pulls the best arm of a posterior sample, or in half of the cases the arm that is hardest to tell from it.

    The cost of arm j against leader i is (m_i - m_j)^2 / (2 Var(mu_i - mu_j)), 0 where m_j is above m_i. The variance
    comes from the joint posterior, so common blocks count for what they are worth.
    """

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return leaders or challengers."""
        belief = view.posterior
        [sample] = belief.sample(rng)
        leader = best(sample, view.offered, rng)
        ahead = np.maximum(np.take_along_axis(belief.mean, leader[:, None], axis=1) - belief.mean, 0.0)
        variance = belief.difference_variance(leader)
        others = view.offered & (np.arange(view.n.shape[1]) != leader[:, None])
        cost = ahead**2 / np.where(others, np.maximum(variance, np.finfo(float).tiny), 1.0)
        alone = ~others.any(axis=1)
        challenger = best(-cost, others | (alone[:, None] & view.offered), rng)
        return np.where(rng.random(leader.shape) < BETA, leader, challenger)

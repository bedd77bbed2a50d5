"""LUCB (Kalyanakrishnan et al. 2012): leader against challenger, on paired differences."""

import numpy as np

from bandit.policy import Policy, behind, best
from bandit.view import View, log_of


class LUCB(Policy):
    """Pulls the leader or its challenger, whichever has met fewer blocks.

    The leader has the best mean; the challenger's paired difference to it has the highest upper bound
    d + c * sd(d) * sqrt(2 ln t / n), over the n blocks that both have met. LUCB pulls both at once; a run asks for one
    arm at a time, and pulling the one behind keeps the two on common blocks.
    """

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return leaders or challengers."""
        leader = best(view.mean, view.offered, rng)
        gaps = view.against(leader)
        bonus = np.sqrt(2.0 * log_of(view.total)[:, None] / np.maximum(gaps.n, 1))
        bound = np.where(gaps.n > 0, gaps.mean + self.settings.c * gaps.sd(np.sqrt(2) * view.pooled) * bonus, np.inf)
        own = np.arange(view.n.shape[1]) == leader[:, None]
        others = view.offered & ~own
        alone = ~others.any(axis=1)
        challenger = best(bound, others | (alone[:, None] & own), rng)
        return behind(own | (np.arange(view.n.shape[1]) == challenger[:, None]), view, rng)

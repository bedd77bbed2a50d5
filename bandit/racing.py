"""Racing: challengers meet the leader on common blocks; one is crowned only by a test that is valid at any time."""

import numpy as np

from bandit.paired import half_width
from bandit.policy import Policy, behind, best
from bandit.settings import PolicySettings
from bandit.view import View


class Racing(Policy):
    """Pulls the leader or its most promising challenger, whichever has met fewer blocks.

    The leader has the best mean; the challenger's paired difference to it has the highest upper bound of a confidence
    sequence (`bandit.paired.half_width`). A challenger whose upper bound is below 0 is out of the race.
    """

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return leaders or challengers."""
        leader = best(view.mean, view.offered, rng)
        gaps = view.against(leader)
        upper = gaps.mean + np.minimum(half_width(gaps, shares(self.settings.alpha, view)), 1e300)
        own = np.arange(view.n.shape[1]) == leader[:, None]
        racing = view.offered & ~own & (upper > 0)
        over = ~racing.any(axis=1)
        challenger = best(upper, racing | (over[:, None] & own), rng)
        return behind(own | (np.arange(view.n.shape[1]) == challenger[:, None]), view, rng)


def champion(view: View, settings: PolicySettings) -> np.ndarray:
    """Return the (W,) arms crowned on the evidence so far, whichever policy gathered it.

    The oldest arm is champion until a younger one's paired difference to it is above 0 by its confidence sequence; then
    that one is, and meets the next. The k-th challenger by age gets alpha / (k (k + 1)), which sums to at most alpha
    over however many are born: if no arm is better than the first, one is ever crowned with probability at most alpha.
    """
    order = np.argsort(view.birth)
    crowned = order[view.offered[:, order].argmax(axis=1)]
    alpha = shares(settings.alpha, view)
    for arm in order:
        gaps = view.against(crowned)
        above = (gaps.mean - half_width(gaps, alpha))[:, arm] > 0
        crowned = np.where(view.offered[:, arm] & (view.birth[arm] > view.birth[crowned]) & above, arm, crowned)
    return crowned


def shares(alpha: float, view: View) -> np.ndarray:
    """Return each arm's (K,) share of the error rate as a challenger, by age."""
    k = np.maximum(view.birth, 1)
    return alpha / (k * (k + 1))

"""Top-two Thompson sampling (Russo 2016, algorithm 4): tells the two best arms apart, for choosing one in the end."""

import numpy as np

from bandit.policy import Policy
from bandit.view import View

BETA = 0.5
"""Share of pulls that go to the leader."""
TRIES = 25
"""Most samples drawn for a challenger; when all have the same best arm, that arm is pulled."""


class TopTwo(Policy):
    """Pulls the best arm of a posterior sample, or in half of the cases the first other arm that is best in one."""

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return leaders or challengers."""
        samples = np.where(view.offered, view.posterior.sample(rng, 1 + TRIES), -np.inf)
        tops = samples.argmax(axis=2)
        leader, others = tops[0], tops[1:]
        challenger = np.take_along_axis(others, (others != leader).argmax(axis=0)[None], axis=0)[0]
        return np.where(rng.random(leader.shape) < BETA, leader, challenger)

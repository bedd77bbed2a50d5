"""Successive Rejects (Audibert, Bubeck & Munos 2010, figure 3): after each phase the worst arm goes."""

import math
from collections.abc import Iterator

import numpy as np

from bandit.elimination import next_in_schedule
from bandit.policy import Policy
from bandit.view import View


def phases(arms: int, budget: int) -> Iterator[tuple[int, int]]:
    """Yield (n_k, arms left): n_k = ceil((budget - K) / (logbar(K) (K + 1 - k)))."""
    logbar = 0.5 + sum(1 / i for i in range(2, arms + 1))
    for k in range(1, arms):
        yield max(1, math.ceil((budget - arms) / (logbar * (arms + 1 - k)))), arms - k


class SuccessiveRejects(Policy):
    """Pulls the arms left in turn, and drops the worst after each of K - 1 phases of growing length."""

    needs_budget = True

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the arm furthest behind."""
        return next_in_schedule(phases, self.settings.budget, view, rng)

"""Sequential Halving (Karnin, Koren & Somekh 2013, algorithm 1), samples kept: the worse half goes after each phase."""

import math
from collections.abc import Iterator

import numpy as np

from bandit.elimination import next_in_schedule
from bandit.policy import Policy
from bandit.view import View


def phases(arms: int, budget: int) -> Iterator[tuple[int, int]]:
    """Yield (blocks so far, arms left): each of ceil(log2 K) phases shares budget / ceil(log2 K) among its arms."""
    count, blocks, left = math.ceil(math.log2(arms)) if arms > 1 else 0, 0, arms
    for _ in range(count):
        blocks += max(1, budget // (left * count))
        left = math.ceil(left / 2)
        yield blocks, left


class SequentialHalving(Policy):
    """Pulls the arms left in turn, and drops the worse half after each phase."""

    needs_budget = True

    def choose(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Return the arm furthest behind."""
        return next_in_schedule(phases, self.settings.budget, view, rng)

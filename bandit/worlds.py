"""Synthetic arms: thousands of worlds that a policy plays in lockstep, for measuring how many blocks it needs."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bandit.policy import Policy
from bandit.prefixes import Prefixes
from bandit.view import View
from core.seeding import generator

CHECK = 1.1
"""Growth of the evidence between two looks at the recommendation, but at least eight blocks."""


@dataclass(frozen=True)
class Setting:
    """Worlds of arms whose rewards are mu + block + residual, all Gaussian.

    Attributes:
        worlds: how many.
        arms: how many in each.
        rho: share of the reward's variance (1 in all) that blocks do to every arm alike.
        spread: standard deviation of mu between arms; 0 is the null world.
        seed: of everything drawn.
        paired: whether arms meet common blocks; without, every pull meets blocks of its own.
    """

    worlds: int
    arms: int
    rho: float
    spread: float = 0.3
    seed: int = 0
    paired: bool = True


@dataclass
class Worlds:
    """The truth of a setting: the means, and every reward that an arm would get on a block, whoever plays."""

    setting: Setting
    _table: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._table = np.zeros((0, self.setting.worlds, self.setting.arms))

    @functools.cached_property
    def mu(self) -> np.ndarray:
        """(W, K) means."""
        return self.setting.spread * self._normal("mu", 0, self.setting.arms)

    def rewards(self, blocks: int) -> np.ndarray:
        """Return the (W, K, B) rewards of the first blocks or of more; the same however often more are asked for."""
        known = len(self._table)
        if blocks > known:
            self._table = np.concatenate([self._table, np.empty((max(blocks - known, known, 16), *self.mu.shape))])
            for block in range(known, len(self._table)):
                self._table[block] = self._column(block)
        return np.moveaxis(self._table, 0, 2)

    def regret(self, arms: np.ndarray) -> np.ndarray:
        """Return the (W,) simple regret of recommending these arms."""
        return self.mu.max(axis=1) - np.take_along_axis(self.mu, arms[:, None], axis=1)[:, 0]

    def _column(self, block: int) -> np.ndarray:
        setting = self.setting
        common = self._normal("block", block, 1 if setting.paired else setting.arms)
        own = self._normal("residual", block, setting.arms)
        return self.mu + np.sqrt(setting.rho) * common + np.sqrt(1 - setting.rho) * own

    def _normal(self, what: str, block: int, columns: int) -> np.ndarray:
        rng = generator("worlds", self.setting.seed, what, block)
        return rng.normal(size=(self.setting.worlds, columns))


class Play:
    """One policy at play in all worlds of a setting at once; every world has made the same number of pulls."""

    def __init__(self, policy: Policy, worlds: Worlds, batch: int = 1) -> None:
        """Start without results.

        Args:
            policy: chooses the arms.
            worlds: the truth.
            batch: blocks a pull; an arm's k-th pull meets the k-th batch.
        """
        setting = worlds.setting
        self.worlds, self.policy, self.batch = worlds, policy, batch
        self.evidence = Prefixes(setting.worlds, setting.arms)
        self._settled: dict[Any, np.ndarray] = {}

    @property
    def blocks(self) -> int:
        """Blocks met so far in each world, that is pictures drawn and scored."""
        return self.evidence.blocks

    def view(self) -> View:
        """Return what the policy sees; it holds until the next pull."""
        seen = self.evidence
        return View(
            seen,
            n=seen.n,
            mean=seen.mean,
            pooled=seen.pooled,
            offered=np.ones_like(seen.n, dtype=bool),
            birth=np.arange(seen.n.shape[1]),
            settled=self._settled,
        )

    def pull(self, view: View, rng: np.random.Generator) -> np.ndarray:
        """Let the policy choose in each world, and meet one batch; return the (W,) arms."""
        arms = self.policy.next_arms(view, rng)
        rows = np.arange(len(arms))
        first = self.evidence.n[rows, arms]
        rewards = self.worlds.rewards(int(first.max()) + self.batch)
        for place in range(self.batch):
            self.evidence.add(arms, rewards[rows, arms, first + place])
        return arms


def run(play: Play, blocks: int, rng: np.random.Generator, look: Callable[[int, View], bool]) -> None:
    """Pull until `blocks` have been met, or `look(blocks so far, view)`, asked now and then (CHECK), says stop."""
    due = 0
    while True:
        view = play.view()
        if play.blocks >= min(due, blocks):
            if look(play.blocks, view) or play.blocks >= blocks:
                return
            due = max(play.blocks + 8, int(CHECK * play.blocks))
        play.pull(view, rng)


def recommend(view: View) -> np.ndarray:
    """Return the (W,) arms of the highest posterior mean: what is recommended, whichever policy chose the pulls."""
    return np.where(view.n > 0, view.posterior.mean, -np.inf).argmax(axis=1)

"""The bandit of a run: ask for a pull, tell its scores, rebuild all of it from the stored facts."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bandit.pool import separated, surplus, top
from bandit.rewards import REWARDS
from bandit.statistics import ArmStatistics, arm_statistics, bounds, mean, pooled_sd
from bandit.view import view_of
from core.interfaces import BanditPolicy, Table
from core.records import NAIVE, Pull

PATIENCE = 3
"""Pulls without any result after which an arm that never had one is barren: no longer offered while others are."""


@dataclass(frozen=True)
class PullFact:
    """What is stored of a pull: its raw scores by block, or why it failed; with neither it is outstanding."""

    pull: Pull
    scores: Mapping[str, float] | None = None
    error: str = ""


class Bandit:
    """Pulls, raw scores and the pool of one run.

        bandit = Bandit(POLICIES["ucb1"](settings))
        bandit.add("r0c0")
        pull = bandit.ask("r1p0", generator(run_seed, "r1p0"))      # play pull.arm on batch pull.batch
        bandit.tell(pull.id, scores={"b0": 0.27}, naive={"b0": 0.25})
        bandit.retire(cap=16); bandit.select_parent(rng); bandit.top(3)

    Facts in, statistics out: only raw scores are kept, rewards are derived on every call, and the order in which
    results arrive does not matter. Several pulls may be outstanding: until they are told, the policy sees them as
    results like the arm's own so far (Desautels et al. 2014), and an untried arm on its way is not asked for again
    while another arm is left. A failed pull uses up the arm's batch and adds no reward.

    Judgements (`leader`, `top`, `separated`, `retire`) use bounds with c = 1 and the pooled sd whatever the policy
    explores with, so that runs of different policies end by one rule. They regard the pool, not retired arms.
    """

    def __init__(self, policy: BanditPolicy, reward: str = "paired", arms: Iterable[str] = ()) -> None:
        """Start with no facts.

        Args:
            policy: chooses arms, from `bandit.POLICIES`.
            reward: a key of `bandit.rewards.REWARDS`.
            arms: ids of the first arms.

        Raises:
            ValueError: unknown reward, or an arm that cannot be added.
        """
        if reward not in REWARDS:
            raise ValueError(f"reward is {reward!r}; expected one of {', '.join(REWARDS)}")
        self.policy = policy
        self.reward = reward
        self.retired: list[str] = []
        self.facts: dict[str, PullFact] = {}
        self.naive: dict[str, float] = {}
        self._arms: list[str] = []
        for arm in arms:
            self.add(arm)

    @classmethod
    def replay(
        cls,
        policy: BanditPolicy,
        reward: str,
        arms: Iterable[str],
        facts: Iterable[PullFact],
        naive: Mapping[str, float],
        retired: Collection[str] = (),
    ) -> "Bandit":
        """Rebuild the bandit of a run from its facts, in any order.

        Args:
            policy: as for the constructor.
            reward: as for the constructor.
            arms: every arm that ever joined the pool.
            facts: every pull, with its scores, its error, or neither while it is outstanding.
            naive: the identity refiner's raw scores by block.
            retired: the arms that have left the pool.
        """
        bandit = cls(policy, reward, arms)
        bandit.retired = list(retired)
        for fact in facts:
            bandit._record(fact.pull)
            if fact.scores is not None:
                bandit.tell(fact.pull.id, fact.scores, {})
            elif fact.error:
                bandit.fail(fact.pull.id, fact.error)
        bandit.naive.update(_finite(naive))
        return bandit

    @property
    def pool(self) -> list[str]:
        """The arms that can be pulled, in the order in which they joined."""
        return [arm for arm in self._arms if arm not in self.retired]

    def add(self, arm: str) -> None:
        """Let an arm join the pool, untried.

        Raises:
            ValueError: the id is taken, or is that of the identity refiner, the reference of paired rewards.
        """
        if arm == NAIVE or arm in self._arms:
            raise ValueError(f"cannot add arm {arm!r}: it is the reference, or known already; choose another id")
        self._arms.append(arm)

    def ask(self, pull_id: str, rng: np.random.Generator) -> Pull:
        """Return the next pull: the policy's arm, on the first batch that this arm has not met.

        Raises:
            ValueError: the pool is empty, or the pull id is taken.
        """
        pull = Pull(pull_id, self.policy.select(self._offer(), rng), 0)
        pull = Pull(pull_id, pull.arm, 1 + max((fact.pull.batch for fact in self._of(pull.arm)), default=-1))
        self._record(pull)
        return pull

    def tell(self, pull_id: str, scores: Mapping[str, float], naive: Mapping[str, float]) -> None:
        """Record a pull's raw scores and the naive prompts' on its blocks; blocks that failed are simply missing.

        Raises:
            ValueError: the pull is unknown or closed, or a score is not finite.
        """
        pull = self._outstanding(pull_id)
        scores, naive = _finite(scores), _finite(naive)
        self.facts[pull_id] = PullFact(pull, scores)
        self.naive.update(naive)

    def fail(self, pull_id: str, reason: str) -> None:
        """Record that a pull brought nothing; it stays out of the arm's statistics.

        Raises:
            ValueError: the pull is unknown or closed, or there is no reason.
        """
        if not reason:
            raise ValueError(f"pull {pull_id} failed without a reason; say why")
        self.facts[pull_id] = PullFact(self._outstanding(pull_id), error=reason)

    def table(self, arms: Collection[str] | None = None) -> Table:
        """Return the rewards by (arm, block) of the pool, or of the arms named (retired ones too)."""
        return REWARDS[self.reward](self._scores(self.pool if arms is None else arms), self.naive)

    def statistics(self) -> dict[str, ArmStatistics]:
        """Return n and mean reward of every arm, retired ones too."""
        return arm_statistics(self.table(self._arms))

    def components(self) -> dict[str, float] | None:
        """Return the variance components of the raw scores, the naive prompts' included; None without a score.

        `arm`, `block` and `residual` are variances; `rho` is the share of the spread within arms that blocks make.
        Pairing divides the blocks that a comparison of arms needs by 1 / (1 - rho).
        """
        scores = {arm: row for arm, row in self._scores(self._arms).items() if row}
        if not scores:
            return None
        parts = view_of({NAIVE: self.naive, **scores}).components
        names = ("arm", "block", "residual", "rho")
        return {name: float(getattr(parts, name)[0]) for name in names}

    def pulls(self, arm: str) -> int:
        """Return how often an arm was asked for, failed and outstanding pulls included."""
        return len(self._of(arm))

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return the bounds by which the pool is judged: c = 1, pooled sd."""
        table = self.table()
        return bounds(table, 1.0, pooled_sd(table))

    def expandable(self) -> list[str]:
        """Return the pool's arms with at least one result."""
        return [arm for arm, row in self.table().items() if row]

    def select_parent(self, rng: np.random.Generator) -> str | None:
        """Return the arm whose instruction to modify, chosen by the policy among `expandable()`; None without any."""
        tried = {arm: row for arm, row in self.table().items() if row}
        return self.policy.select(tried, rng) if tried else None

    def leader(self) -> str | None:
        """Return the pool's arm of the highest lower bound, None before any result."""
        return next(iter(self.top(1)), None)

    def top(self, k: int) -> list[str]:
        """Return up to `k` arms of the pool by lower bound, best first."""
        return top(self.bounds(), k)

    def separated(self) -> bool:
        """Say whether no other arm of the pool, barren ones apart, can be better than the leader by its bounds."""
        barren = self.barren()
        return separated({arm: bound for arm, bound in self.bounds().items() if arm not in barren})

    def barren(self) -> list[str]:
        """Return the pool's arms that PATIENCE pulls have brought nothing."""
        return [arm for arm, row in self.table().items() if not row and self._fruitless(arm) >= PATIENCE]

    def retire(self, cap: int) -> list[str]:
        """Retire arms until `cap` are left in the pool and return them, in order: see `bandit.pool.surplus`."""
        going = surplus(self.bounds(), cap, self.barren())
        self.retired.extend(going)
        return going

    def _scores(self, arms: Collection[str]) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {arm: {} for arm in arms}
        for fact in sorted(self.facts.values(), key=lambda fact: (fact.pull.batch, fact.pull.id)):
            if fact.scores and fact.pull.arm in scores:
                scores[fact.pull.arm].update(fact.scores)
        return scores

    def _of(self, arm: str) -> list[PullFact]:
        return [fact for fact in self.facts.values() if fact.pull.arm == arm]

    def _waiting(self, arm: str) -> int:
        return sum(fact.scores is None and not fact.error for fact in self._of(arm))

    def _fruitless(self, arm: str) -> int:
        return self.pulls(arm) - self._waiting(arm)

    def _offer(self) -> Table:
        """Return the table that the policy sees: outstanding pulls imagined, barren and doubly asked arms left out."""
        table = self.table()
        barren = set(self.barren())
        offer = {arm: row for arm, row in table.items() if arm not in barren} or table
        waiting = {arm: self._waiting(arm) for arm in offer}
        asked = {arm for arm, row in offer.items() if waiting[arm] and not row}
        if len(asked) < len(offer):
            offer = {arm: row for arm, row in offer.items() if arm not in asked}
        else:
            offer = {arm: row for arm, row in offer.items() if waiting[arm] == min(waiting.values())}
        unit = pooled_sd(table)
        return {arm: self._imagine(arm, row, waiting[arm], unit) for arm, row in offer.items()}

    def _imagine(self, arm: str, row: Mapping[str, float], batches: int, unit: float) -> Mapping[str, float]:
        """Return an arm's rewards with those of its outstanding pulls imagined: same mean, same spread, own blocks."""
        if not row or not batches:
            return row
        told = sum(1 for fact in self._of(arm) if fact.scores)
        count, centre = batches * max(1, round(len(row) / told)), mean(row.values())
        signs = [(-1) ** place for place in range(count - count % 2)] + [0] * (count % 2)
        return dict(row) | {f"waiting/{arm}/{place}": centre + sign * unit for place, sign in enumerate(signs)}

    def _record(self, pull: Pull) -> None:
        if pull.id in self.facts:
            raise ValueError(f"pull {pull.id} is taken; pull ids are used once")
        if pull.arm not in self._arms:
            raise ValueError(f"pull {pull.id} is of arm {pull.arm!r}, which is not in the pool; add it first")
        self.facts[pull.id] = PullFact(pull)

    def _outstanding(self, pull_id: str) -> Pull:
        fact = self.facts.get(pull_id)
        if fact is None or fact.scores is not None or fact.error:
            raise ValueError(
                f"pull {pull_id} is {'unknown' if fact is None else 'closed'}; expected an outstanding one"
            )
        return fact.pull


def _finite(scores: Mapping[str, float]) -> dict[str, float]:
    values = {block: float(value) for block, value in scores.items()}
    wrong = [block for block, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise ValueError(f"the score of block {wrong[0]} is {values[wrong[0]]}; a non-finite score is a failure")
    return values

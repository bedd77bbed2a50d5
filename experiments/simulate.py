"""`brushup simulate`: how many pictures each policy needs, in thousands of synthetic worlds, paired and not."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from bandit import POLICIES, Policy, PolicySettings
from bandit.racing import champion
from bandit.view import View
from bandit.worlds import Play, Setting, Worlds, recommend, run
from core.errors import BadInput
from core.seeding import derive_seed, generator

RHOS = (0.0, 0.5, 0.8)
TARGET = 0.06
"""Mean simple regret to reach, in standard deviations of one reward: a fifth of the spread between arms."""
BUDGET_STEP = 1.2
"""Policies that need their budget are run anew with budgets that grow by this factor."""
PORTION = 500
"""Worlds played at once: they fit the processor's cache better than thousands do."""
DRAWS = 400
T_CRITICAL = 1.645
"""One-sided 5 % point of the normal: the test that looks again and again and corrects for nothing."""


@dataclass(frozen=True)
class Plan:
    """What to simulate: so many worlds of so many arms, batches of `batch` blocks, at most `blocks` pictures each."""

    worlds: int = 1000
    arms: int = 16
    seed: int = 0
    batch: int = 1
    blocks: int = 800
    policies: tuple[str, ...] = tuple(POLICIES)

    def __post_init__(self) -> None:
        limits = {"worlds": (20, 100_000), "arms": (2, 100), "seed": (0, 2**31 - 1), "batch": (1, 100)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadInput(f"--{name} is {value}; expected a whole number from {low} to {high}")
        for name in self.policies:
            if name not in POLICIES:
                raise BadInput(f"--policies names {name!r}; expected some of: {', '.join(POLICIES)}")
        least = 2 * self.arms * self.batch
        if self.blocks < least:
            raise BadInput(
                f"--blocks is {self.blocks}; expected at least {least}, two batches for each of {self.arms} arms"
            )

    def portions(self) -> list["Plan"]:
        """Return the plan in portions of at most PORTION worlds, each with a seed of its own."""
        sizes = [min(PORTION, self.worlds - start) for start in range(0, self.worlds, PORTION)]
        return [
            replace(self, worlds=size, seed=derive_seed("portion", self.seed, number))
            for number, size in enumerate(sizes)
        ]

    def setting(self, rho: float, *, spread: float = 0.3, paired: bool = True) -> Setting:
        """Return the worlds of one column of the table."""
        return Setting(self.worlds, self.arms, rho, spread=spread, seed=self.seed, paired=paired)


@dataclass(frozen=True)
class Curve:
    """Mean simple regret by pictures drawn: `regrets` is (worlds, looks), `blocks` (looks,)."""

    blocks: np.ndarray
    regrets: np.ndarray

    def crossing(self, weights: np.ndarray) -> np.ndarray:
        """Return where the regret first reaches TARGET, for each row of weights (draws, worlds); +inf where never.

        Between two looks it is interpolated. Weights sum to 1 in each row.
        """
        means = weights @ self.regrets
        below = means <= TARGET
        first = below.argmax(axis=1)
        rows, before = np.arange(len(means)), np.maximum(first - 1, 0)
        high, low = means[rows, before], means[rows, first]
        share = np.where(first > 0, (high - TARGET) / np.maximum(high - low, 1e-12), 0.0)
        at = self.blocks[before] + share * (self.blocks[first] - self.blocks[before])
        return np.where(below.any(axis=1), at, np.inf)


def simulate(plan: Plan, note: Callable[[str], None]) -> dict[str, Any]:
    """Return the table: renders to TARGET by policy and rho, and the ratio to uniform on equally paired worlds.

    Every policy meets the same worlds; each recommends by the highest posterior mean, so only the choice of pulls
    differs. A policy that does not get there within `plan.blocks` has None. Intervals resample worlds.
    """
    names = tuple(dict.fromkeys(("uniform", *plan.policies)))
    weights = _weights(plan)
    columns = [(0.0, False, "uniform"), *((rho, True, name) for rho in RHOS for name in names)]
    curves = [_joined(parts).crossing(weights) for parts in _side_by_side(_curve, plan, columns, note)]
    apart, by_column = curves[0], dict(zip(((rho, name) for rho, _, name in columns[1:]), curves[1:], strict=True))
    table = {}
    for rho in RHOS:
        uniform = by_column[rho, "uniform"]
        rows = {}
        for name in plan.policies:
            ours = by_column[rho, name]
            rows[name] = {"renders_to_target": _finite(ours[0]), **_ratio(uniform, ours, "ratio_to_uniform")}
        table[f"{rho:g}"] = {"uniform_gain_from_pairing": _ratio(apart, uniform, "ratio"), "policies": rows}
    return {"worlds": plan.worlds, **_described(plan), "target": TARGET, "rho": table}


def simulate_null(plan: Plan, note: Callable[[str], None]) -> dict[str, Any]:
    """Return how often worlds without any difference between arms saw a false crown, looked at again and again.

    `false_crown_rate` is by racing's rule (`bandit.racing.champion`), on what each policy chose to pull;
    `repeated_t_test` by an uncorrected test at 5 % of every arm against the first, for comparison.
    """
    columns = [(rho, True, name) for rho in RHOS for name in plan.policies]
    table: dict[str, Any] = {f"{rho:g}": {"policies": {}} for rho in RHOS}
    for (rho, _, name), parts in zip(columns, _side_by_side(_ever_crowned, plan, columns, note), strict=True):
        crowned, tested = (sum(counts) / plan.worlds for counts in zip(*parts, strict=True))
        row = {"false_crown_rate": crowned, "ci95": _wilson(crowned, plan.worlds), "repeated_t_test": tested}
        table[f"{rho:g}"]["policies"][name] = row
    return {"worlds": plan.worlds, **_described(plan), "alpha": PolicySettings().alpha, "rho": table}


Column = tuple[float, bool, str]
"""Rho, whether arms meet common blocks, and the policy."""
Result = TypeVar("Result")


def _side_by_side(
    work: Callable[[Plan, Column], Result], plan: Plan, columns: list[Column], note: Callable[[str], None]
) -> Iterator[list[Result]]:
    """Yield each column's results, portion by portion, worked on by a process for each processor."""
    portions = plan.portions()
    jobs = [(portion, column) for column in columns for portion in portions]
    with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1)) as pool:
        results = pool.map(work, *zip(*jobs, strict=True))
        for rho, paired, name in columns:
            yield [next(results) for _ in portions]
            note(f"rho {rho:g}: {name}" + ("" if paired else ", not paired"))


def _joined(parts: list[Curve]) -> Curve:
    """Return the curve of all portions; one that ended early, well under the target, stays where it was."""
    longest = max((part.blocks for part in parts), key=len)
    padded = [np.pad(part.regrets, ((0, 0), (0, len(longest) - len(part.blocks))), mode="edge") for part in parts]
    return Curve(longest, np.concatenate(padded))


def _described(plan: Plan) -> dict[str, Any]:
    return {"arms": plan.arms, "seed": plan.seed, "batch": plan.batch, "blocks": plan.blocks}


def _weights(plan: Plan) -> np.ndarray:
    """Return (1 + DRAWS, worlds) weights: all worlds alike, then bootstrap samples."""
    even = np.full((1, plan.worlds), 1 / plan.worlds)
    drawn = generator("simulate", plan.seed, "bootstrap").multinomial(plan.worlds, even[0], size=DRAWS)
    return np.concatenate([even, drawn / plan.worlds])


def _curve(plan: Plan, column: Column) -> Curve:
    rho, paired, name = column
    policy = POLICIES[name](PolicySettings(budget=plan.blocks))
    curve = _by_budget if policy.needs_budget else _anytime
    return curve(Worlds(plan.setting(rho, paired=paired)), policy, plan)


def _anytime(worlds: Worlds, policy: Policy, plan: Plan) -> Curve:
    """Return the regret as one play goes on, until it is well under the target."""
    looks: list[tuple[int, np.ndarray]] = []

    def look(blocks: int, view: View) -> bool:
        if (view.n > 0).all():
            looks.append((blocks, worlds.regret(recommend(view))))
        return bool(looks) and _well_under(looks[-1][1])

    run(Play(policy, worlds, plan.batch), plan.blocks, generator("simulate", worlds.setting.seed), look)
    return Curve(np.array([at for at, _ in looks]), np.stack([regret for _, regret in looks], axis=1))


def _by_budget(worlds: Worlds, policy: Policy, plan: Plan) -> Curve:
    """Return the regret at the end of plays with growing budgets."""
    looks: list[tuple[int, np.ndarray]] = []
    budget = plan.arms * plan.batch
    while budget < plan.blocks and not (looks and _well_under(looks[-1][1])):
        budget = min(plan.blocks, int(np.ceil(budget * BUDGET_STEP)))
        told = type(policy)(replace(policy.settings, budget=budget))
        play, rng = Play(told, worlds, plan.batch), generator("simulate", worlds.setting.seed)
        while play.blocks < budget:
            play.pull(play.view(), rng)
        looks.append((play.blocks, worlds.regret(recommend(play.view()))))
    return Curve(np.array([at for at, _ in looks]), np.stack([regret for _, regret in looks], axis=1))


def _well_under(regrets: np.ndarray) -> bool:
    """Say whether a play may stop: no resample of the worlds will still be above the target."""
    return bool(regrets.mean() + 3 * regrets.std() / np.sqrt(len(regrets)) < TARGET)


def _ever_crowned(plan: Plan, column: Column) -> tuple[int, int]:
    """Return how many null worlds ever saw a false crown: by racing's rule, by the repeated t-test."""
    rho, paired, name = column
    settings = PolicySettings(budget=plan.blocks)
    worlds = Worlds(plan.setting(rho, spread=0.0, paired=paired))
    crowned, tested = np.zeros((2, plan.worlds), dtype=bool)
    first = np.zeros(plan.worlds, dtype=int)

    def look(blocks: int, view: View) -> bool:  # noqa: ARG001 - every look counts
        crowned[:] |= champion(view, settings) != 0
        gaps = view.against(first)
        t = gaps.mean * np.sqrt(gaps.n) / gaps.sd(view.pooled)
        tested[:] |= ((t > T_CRITICAL) & (gaps.n > 1))[:, 1:].any(axis=1)
        return False

    run(Play(POLICIES[name](settings), worlds, plan.batch), plan.blocks, generator("simulate", plan.seed), look)
    return int(crowned.sum()), int(tested.sum())


def _ratio(base: np.ndarray, ours: np.ndarray, key: str) -> dict[str, Any]:
    """Return base / ours with its percentile interval; None where one of them never got there."""
    known = np.isfinite(base) & np.isfinite(ours)
    if not known[0]:
        return {key: None, "ci95": None}
    ratios = base[known] / ours[known]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {key: float(ratios[0]), "ci95": [float(low), float(high)]}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _wilson(rate: float, n: int) -> list[float]:
    """Return the 95 % interval of a proportion (Wilson 1927)."""
    z2 = 1.96**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 / (1 + z2 / n) * np.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return [float(max(0.0, centre - half)), float(min(1.0, centre + half))]

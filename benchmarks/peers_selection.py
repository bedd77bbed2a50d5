"""Selection alone, in the worlds of `make peers`: sixteen given instructions, find the best one.

gepa, OPRO and EvoPrompt evaluate every candidate on all of their examples and take the best mean: brute force on common
blocks. CAPO races. Ours are the policies with one block a pull, recommending by posterior mean.
"""

from collections.abc import Sequence

import numpy as np

from bandit import POLICIES, PolicySettings
from bandit.view import view_of
from benchmarks.peers_world import World
from core.seeding import generator

ARMS = 16
Point = tuple[int, float]
"""Pictures drawn, and simple regret of the recommendation then."""


def pool(world: World) -> list[str]:
    """Return the instructions: children of the initial one."""
    return [world.child("0") for _ in range(ARMS)]


def regret(world: World, arms: Sequence[str], chosen: str) -> float:
    """Return what recommending an arm loses against the best of the pool."""
    return max(map(world.worth, arms)) - world.worth(chosen)


def ours(policy: str, world: World, budgets: Sequence[int]) -> list[Point]:
    """Return the regret of a policy at growing numbers of pictures."""
    chooser = POLICIES[policy](PolicySettings(budget=budgets[-1]))
    arms = pool(World(world.number, world.rho))
    table: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    points = []
    for pull in range(budgets[-1]):
        arm = chooser.select(table, generator("selection", world.number, pull))
        block = f"b{len(table[arm])}"
        table[arm][block] = world.score(arm, block)
        if pull + 1 in budgets:
            view = view_of({arm: row for arm, row in table.items() if row})
            points.append((pull + 1, regret(world, arms, view.arms[int(view.posterior.mean[0].argmax())])))
    return points


def brute_force(world: World, examples: Sequence[int]) -> list[Point]:
    """Return the regret of the best mean on the first examples, every arm on each."""
    arms = pool(World(world.number, world.rho))
    scores = np.array([[world.score(arm, f"b{i}") for i in range(examples[-1])] for arm in arms])
    return [
        (count * ARMS, regret(world, arms, arms[int(scores[:, :count].mean(axis=1).argmax())])) for count in examples
    ]


def crossing(curves: Sequence[Sequence[Point]], target: float, weights: np.ndarray) -> np.ndarray:
    """Return the pictures at which the mean regret reaches `target`, for each row of weights over the worlds.

    Points with the same place in every world are one setting; settings are ordered by their mean pictures, and between
    two of them the regret is interpolated. +inf where it is not reached.
    """
    data = np.array(curves)
    pictures, regrets = weights @ data[:, :, 0], weights @ data[:, :, 1]
    found = np.full(len(weights), np.inf)
    for row, (cost, loss) in enumerate(zip(pictures, regrets, strict=True)):
        order = np.argsort(cost)
        cost, loss = cost[order], np.minimum.accumulate(loss[order])
        below = np.nonzero(loss <= target)[0]
        if len(below):
            at = below[0]
            found[row] = cost[at] if at == 0 else np.interp(-target, -loss[at - 1 : at + 1], cost[at - 1 : at + 1])
    return found

"""The phases of the fixed-budget policies."""

import numpy as np
import pytest

from bandit import POLICIES, PolicySettings
from bandit.sequential_halving import phases as halving
from bandit.successive_rejects import phases as rejects
from bandit.worlds import Play, Setting, Worlds
from core.seeding import generator

EVERY = pytest.mark.parametrize("name", ["successive-rejects", "sequential-halving"])


def test_phases_by_hand():
    # logbar(4) = 1/2 + 1/2 + 1/3 + 1/4 = 19/12; (100 - 4) / (19/12 x 4, 3, 2)
    assert list(rejects(4, 100)) == [(16, 3), (21, 2), (31, 1)]
    assert list(halving(8, 120)) == [(5, 4), (15, 2), (35, 1)]
    assert list(halving(5, 90)) == [(6, 3), (16, 2), (31, 1)]
    assert list(rejects(1, 100)) == list(halving(1, 100)) == []


@EVERY
def test_the_budget_is_kept_and_one_arm_is_left(name):
    worlds = Worlds(Setting(60, 8, 0.5, spread=1.0))
    play, rng = Play(POLICIES[name](PolicySettings(budget=160)), worlds), generator(name)
    while play.blocks < 160:
        play.pull(play.view(), rng)
    last = {int(arm) for arm in play.pull(play.view(), rng) == play.evidence.n.argmax(axis=1)}
    assert last == {1}  # what is left is what was pulled most
    assert (play.evidence.n.max(axis=1) > 2 * np.median(play.evidence.n, axis=1)).all()
    assert worlds.regret(play.evidence.n.argmax(axis=1)).mean() < 0.1


@EVERY
def test_an_arm_that_joins_late_goes_through_the_same_phases(name):
    policy = POLICIES[name](PolicySettings(budget=60))
    table = {arm: {} for arm in ("r0c0", "r1c0", "r1c1")}
    mean = {"r0c0": 0.0, "r1c0": 0.5, "r1c1": 1.0, "r9c0": 3.0}
    noise = generator("late").normal(size=300) * 0.1

    def pull(k: int) -> str:
        arm = policy.select(table, generator("late", k))
        table[arm][f"b{len(table[arm])}"] = mean[arm] + float(noise[k])
        return arm

    for k in range(70):
        pull(k)
    assert max(table, key=lambda arm: len(table[arm])) == "r1c1"
    table["r9c0"] = {}
    late = [pull(k) for k in range(70, 150)]
    assert late[0] == "r9c0"
    assert set(late[-20:]) == {"r9c0"}

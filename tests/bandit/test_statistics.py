import math

import pytest

from bandit import PolicySettings
from bandit.eps_greedy import EpsGreedy
from bandit.rewards import paired, score
from bandit.statistics import SD_FLOOR, ArmStatistics, arm_statistics, bounds, pairwise, pooled_sd, scale
from bandit.ucb1 import UCB1
from bandit.view import view_of
from core.seeding import generator

TABLE = {"a": {"b0": 1.0, "b1": 3.0}, "b": {"b0": 4.0, "b1": 4.0, "b2": 7.0}, "c": {}}
# squares about the means: a 1 + 1, b 1 + 1 + 4; degrees of freedom 1 + 2
POOLED = math.sqrt(8 / 3)


def test_paired_rewards_leave_out_blocks_that_lack_either_side():
    scores = {"a": {"b0": 0.5, "b1": 0.25}, "b": {"b2": 1.0}, "c": {}}
    assert paired(scores, {"b0": 0.125, "b2": 0.5, "b9": 9.0}) == {"a": {"b0": 0.375}, "b": {"b2": 0.5}, "c": {}}
    assert score(scores, {"b0": 0.125}) == scores


def test_pairing_cancels_the_block():
    effects = {f"b{i}": float(x) for i, x in enumerate(generator(0).normal(size=40))}
    scores = {"a": {block: effect + 0.125 for block, effect in effects.items()}}
    assert pooled_sd(paired(scores, effects)) == SD_FLOOR < 0.5 < pooled_sd(score(scores, effects))


def test_arm_statistics():
    assert arm_statistics(TABLE) == {
        "a": ArmStatistics(2, 2.0),
        "b": ArmStatistics(3, 5.0),
        "c": ArmStatistics(0, None),
    }


def test_pooled_sd_by_hand():
    assert pooled_sd(TABLE) == pytest.approx(POOLED)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, 1.0),
        ({"a": {}}, 1.0),
        ({"a": {"b0": 5.0}, "c": {}}, 1.0),
        ({"a": {"b0": 1.0}, "c": {"b0": 3.0}}, math.sqrt(2)),  # no arm has two: all around the common mean
        ({"a": {"b0": 2.0, "b1": 2.0}}, SD_FLOOR),
    ],
    ids=["no arm", "no result", "one result", "one each", "no spread"],
)
def test_pooled_sd_without_enough_to_go_by(table, expected):
    assert pooled_sd(table) == pytest.approx(expected)


def test_scale():
    assert scale(TABLE, "none") == 1.0
    assert scale(TABLE, "pooled-sd") == pooled_sd(TABLE)
    with pytest.raises(ValueError, match="expected pooled-sd or none"):
        scale(TABLE, "range")


def test_bounds_by_hand():
    got = bounds(TABLE, c=0.5, scale=2.0)  # t = 5
    assert got["a"] == pytest.approx((2 - math.sqrt(2 * math.log(5) / 2), 2 + math.sqrt(2 * math.log(5) / 2)))
    assert got["a"][1] == pytest.approx(3.26863624)
    assert got["b"] == pytest.approx((5 - math.sqrt(2 * math.log(5) / 3), 5 + math.sqrt(2 * math.log(5) / 3)))
    assert got["c"] == (-math.inf, math.inf)
    assert bounds({"a": {"b0": 7.0}}, 1.0, 1.0) == {"a": (7.0, 7.0)}


def test_ucb1_index_by_hand():
    index = UCB1(PolicySettings(c=1.0, reward_scale="none")).index(view_of(TABLE))[0]
    assert index[0] == pytest.approx(2 + math.sqrt(2 * math.log(5) / 2))
    assert index[1] == pytest.approx(5 + math.sqrt(2 * math.log(5) / 3))
    pooled = UCB1(PolicySettings(c=1.0)).index(view_of(TABLE))[0]
    assert pooled[0] == pytest.approx(2 + POOLED * math.sqrt(2 * math.log(5) / 2))


def test_ucb1_without_a_scale_is_round_robin_on_rewards_as_small_as_raw_hpsv2():
    """The paper's setting: with gaps near 0.005 the bonus alone decides; the pooled sd lets the better arm win."""
    rng = generator("hpsv2")
    gaps = {"a": 0.27, "b": 0.275, "c": 0.28}
    pulls = {"none": dict.fromkeys(gaps, 0), "pooled-sd": dict.fromkeys(gaps, 0)}
    for setting, counts in pulls.items():
        table: dict[str, dict[str, float]] = {arm: {} for arm in gaps}
        for k in range(150):
            arm = UCB1(PolicySettings(reward_scale=setting)).select(table, rng)
            table[arm][f"b{k}"] = gaps[arm] + 0.003 * float(rng.normal())
            counts[arm] += 1
    assert max(pulls["none"].values()) - min(pulls["none"].values()) <= 6
    assert pulls["pooled-sd"]["c"] > 2 * pulls["pooled-sd"]["a"]


def test_eps_greedy_explores_its_share():
    table = {"a": {"b0": 0.0}, "b": {"b0": 1.0}, "c": {"b0": 0.0}, "d": {"b0": 0.0}}
    chosen = [EpsGreedy(PolicySettings(epsilon=0.4)).select(table, generator("e", i)) for i in range(1000)]
    assert chosen.count("b") / 1000 == pytest.approx(0.6 + 0.1, abs=0.05)


def test_pairwise_uses_common_blocks_only():
    got = pairwise({"b0": 1.0, "b1": 4.0, "b2": 9.0}, {"b1": 1.0, "b2": 2.0, "b3": 5.0})
    assert (got.mean, got.n) == (5.0, 2)
    assert got.sd == pytest.approx(math.sqrt(8))
    one = pairwise({"b0": 1.0}, {"b0": 3.0})
    assert (one.mean, one.sd, one.n) == (-2.0, None, 1)
    with pytest.raises(ValueError, match="no block in common"):
        pairwise({"b0": 1.0}, {"b1": 1.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"c": -1.0}, "c is -1.0"),
        ({"c": math.nan}, "c is nan"),
        ({"epsilon": 1.5}, "epsilon is 1.5"),
        ({"reward_scale": "sd"}, "expected one of pooled-sd, none"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        PolicySettings(**settings)

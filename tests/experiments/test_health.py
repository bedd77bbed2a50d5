"""Each health rule is provoked, and stays silent on a healthy loop."""

from experiments.health import LoopHistory, degradation, high_variance, stagnation, warnings

HEALTHY = LoopHistory(
    round_rewards=[[0.0, 0.1, 0.2], [0.3, 0.4, 0.5], [0.6, 0.7, 0.8]],
    arm_rewards={"r0c0": [0.1, 0.1, 0.2], "r1c0": [0.4, 0.5, 0.4], "r2c0": [0.7, 0.7, 0.8]},
    born={"r0c0": 0, "r1c0": 1, "r2c0": 2},
)


def test_a_healthy_loop_gives_no_warning() -> None:
    assert warnings(HEALTHY) == []


def test_stagnation_when_two_expansions_bring_nothing_better() -> None:
    arms = {**HEALTHY.arm_rewards, "r0c0": [0.9, 0.9, 0.9]}
    history = LoopHistory(HEALTHY.round_rewards, arms, HEALTHY.born)
    assert stagnation(history).startswith("stagnation: the last 2 expansions")
    assert any("stagnation" in text for text in warnings(history))


def test_one_expansion_is_too_early_for_stagnation() -> None:
    history = LoopHistory([[1.0, 1.1]], {"r0c0": [1.0, 1.0], "r1c0": [0.1, 0.1]}, {"r0c0": 0, "r1c0": 1})
    assert stagnation(history) == ""


def test_degradation_when_the_last_round_is_clearly_worse_than_the_first() -> None:
    history = LoopHistory([[1.0, 1.1, 0.9, 1.0], [0.1, 0.2, 0.0, 0.1]], HEALTHY.arm_rewards, HEALTHY.born)
    assert degradation(history).startswith("degradation: the last round's mean reward is 0.9000 below")


def test_a_drop_within_noise_is_no_degradation() -> None:
    history = LoopHistory([[1.0, -1.0, 0.5, 0.2], [0.9, -1.1, 0.4, 0.1]], HEALTHY.arm_rewards, HEALTHY.born)
    assert degradation(history) == ""


def test_high_variance_when_rewards_spread_over_three_times_the_best_mean() -> None:
    history = LoopHistory(HEALTHY.round_rewards, {"r0c0": [2.0, -2.0, 2.0, -1.8]}, {"r0c0": 0})
    assert high_variance(history).startswith("high variance: rewards within one instruction spread by")

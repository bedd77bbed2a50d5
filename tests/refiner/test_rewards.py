"""Mixing of several scorers' rewards."""

import pytest

from core.errors import BadInput
from refiner.rewards import RewardMix


def test_scorers_of_different_units_count_alike() -> None:
    mix = RewardMix()
    found = mix.mix({"fine": [0.001, -0.001], "coarse": [100.0, -100.0]})
    # unbiased deviations .001 * sqrt 2 and 100 * sqrt 2, half a weight each
    assert found == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_weights_are_shares_and_zero_stays_zero() -> None:
    mix = RewardMix({"a": 3.0, "b": 1.0}, calibration=0)
    assert mix.mix({"a": [1.0, 0.0], "b": [2.0, 0.0], "watched": [9.0, 9.0]}) == pytest.approx([0.75 + 0.5, 0.0])


def test_deviations_are_kept_after_calibration() -> None:
    mix = RewardMix(calibration=3)
    mix.mix({"a": [1.0, 2.0, 3.0]})
    assert mix.deviation("a") == pytest.approx(1.0)
    mix.mix({"a": [500.0, -500.0]})
    assert mix.deviation("a") == pytest.approx(1.0)
    again = RewardMix(calibration=3, moments=dict(mix.moments))
    assert again.mix({"a": [4.0]}) == mix.mix({"a": [4.0]})


def test_a_failed_score_fails_its_episode_and_no_other() -> None:
    mix = RewardMix(calibration=0)
    assert mix.mix({"a": [1.0, None, 3.0, float("nan")], "b": [1.0, 1.0, 1.0, 1.0]}) == [1.0, None, 2.0, None]


def test_a_number_that_is_none_spoils_no_deviation() -> None:
    mix = RewardMix()
    mix.mix({"a": [1.0, float("nan"), float("inf"), 3.0]})
    assert mix.deviation("a") == pytest.approx(2**0.5)


def test_a_missing_scorer_is_named() -> None:
    with pytest.raises(BadInput, match=r"got pick, expected scorers of the reward \(hps\)"):
        RewardMix({"pick": 1.0}).mix({"hps": [1.0]})

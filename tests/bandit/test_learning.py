"""What policies learn, in 50 worlds at once: less regret than uniform, and regret that grows like log t."""

import functools

import numpy as np
import pytest

from bandit import PolicySettings
from bandit.worlds import Play, Setting, Worlds, recommend
from core.seeding import generator
from tests.bandit.test_contract import HELD

pytestmark = pytest.mark.slow


@functools.cache
def regrets(name: str) -> tuple[float, float]:
    """Return the mean regret a block over the pulls, and of the recommendation in the end, over 50 seeds."""
    worlds = Worlds(Setting(worlds=50, arms=8, rho=0.8, seed=11))
    play, rng = Play(HELD[name](PolicySettings(budget=240)), worlds, batch=4), generator("learn", name)
    lost = []
    while play.blocks < 240:
        lost.append(worlds.regret(play.pull(play.view(), rng)).mean())
    return float(np.mean(lost)), float(worlds.regret(recommend(play.view())).mean())


@pytest.mark.parametrize("name", [name for name in HELD if name != "uniform"])
def test_beats_uniform_over_50_seeds(name):
    assert regrets(name)[0] < 0.85 * regrets("uniform")[0]


@pytest.mark.parametrize(
    "name", [name for name in HELD if name not in ("uniform", "greedy", "eps-greedy", "eps-decay")]
)
def test_recommends_better_than_uniform(name):
    """Those that exploit early may not: they are in the table of `brushup simulate` for that reason."""
    assert regrets(name)[1] < regrets("uniform")[1]


@pytest.mark.parametrize("name", ["ucb1", "ucb-v", "kl-ucb", "thompson", "eps-decay"])
def test_regret_grows_like_the_logarithm_of_time(name):
    worlds = Worlds(Setting(worlds=60, arms=4, rho=0.0, seed=5))
    worlds.mu[:] = [0.0, 0.5, 1.0, 1.5]
    play, rng = Play(HELD[name](PolicySettings()), worlds, batch=4), generator("log", name)
    lost = []
    while play.blocks < 1600:
        lost.append(4 * worlds.regret(play.pull(play.view(), rng)).mean())
    at = np.cumsum(lost)[[49, 99, 199, 399]]  # t = 200, 400, 800, 1600
    steps = np.diff(at)
    assert steps[2] < 2.2 * steps[0] + 1.0  # log t adds as much with every doubling; linear regret four times as much
    assert at[3] < 0.25 * 1600 * 0.75  # a uniform policy loses 0.75 a block


def test_uniform_fails_the_test_of_logarithmic_regret():
    worlds = Worlds(Setting(worlds=60, arms=4, rho=0.0, seed=5))
    worlds.mu[:] = [0.0, 0.5, 1.0, 1.5]
    play, rng = Play(HELD["uniform"](PolicySettings()), worlds, batch=4), generator("log")
    lost = [4 * worlds.regret(play.pull(play.view(), rng)).mean() for _ in range(400)]
    steps = np.diff(np.cumsum(lost)[[49, 99, 199, 399]])
    assert steps[2] > 2.2 * steps[0] + 1.0

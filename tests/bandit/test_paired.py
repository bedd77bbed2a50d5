"""Paired differences, and the promise of the confidence sequence: looked at after every block, wrong at most alpha."""

import numpy as np
import pytest

from bandit.greedy import Greedy
from bandit.paired import PRIOR, Differences, half_width
from bandit.policy import Policy
from bandit.racing import Racing, champion
from bandit.settings import PolicySettings
from bandit.uniform import Uniform
from bandit.view import view_of
from bandit.worlds import Play, Setting, Worlds
from core.seeding import generator


def test_differences_by_hand():
    view = view_of({"a": {"b0": 1.0, "b1": 4.0, "b2": 9.0}, "c": {"b1": 2.0, "b2": 3.0, "b3": 0.0}, "d": {"b3": 1.0}})
    got = view.against(np.array([0]))
    assert got.n.tolist() == [[3, 2, 0]]
    assert got.mean.tolist() == [[0, -4, 0]]
    assert got.squares.tolist() == [[0, 8, 0]]
    assert got.sd(np.array([7.0]))[0, 1:].tolist() == [pytest.approx(np.sqrt(8)), 7.0]


def test_the_half_width_is_where_the_test_martingale_reaches_one_over_alpha():
    x, alpha = generator("x").normal(size=12), np.array([0.05])
    squares = ((x - x.mean()) ** 2).sum()
    width = half_width(Differences(np.array([[12.0]]), np.array([[x.mean()]]), np.array([[squares]])), alpha)[0, 0]
    shifted = x - (x.mean() - width)  # a mean at the very edge
    total, square = shifted.sum() ** 2, (shifted**2).sum()
    e = np.sqrt(PRIOR / (12 + PRIOR)) * (1 - total / ((12 + PRIOR) * square)) ** -6
    assert e == pytest.approx(1 / 0.05)
    assert half_width(Differences(np.ones((1, 1)), np.ones((1, 1)), np.zeros((1, 1))), alpha)[0, 0] == np.inf


def ever_crowned(policy: Policy, worlds: Worlds, blocks: int, settings: PolicySettings) -> tuple[float, float]:
    """Return how often a null world ever saw a false crown: by racing, and by a t-test repeated after every pull."""
    play, rng = Play(policy, worlds, batch=2), generator("null")
    crowned, tested = np.zeros((2, worlds.setting.worlds), dtype=bool)
    while play.blocks < blocks:
        play.pull(play.view(), rng)
        view = play.view()
        if (view.n > 0).all():
            crowned |= champion(view, settings) != 0
            gaps = view.against(np.zeros(worlds.setting.worlds, dtype=int))
            t = gaps.mean / (gaps.sd(view.pooled) / np.sqrt(gaps.n))
            tested |= ((t > 2.1) & (gaps.n > 10))[:, 1:].any(axis=1)
    return crowned.mean(), tested.mean()


@pytest.mark.slow
@pytest.mark.parametrize("policy", [Uniform, Greedy, Racing])
def test_false_crowns_stay_under_alpha_in_null_worlds(policy):
    settings = PolicySettings(alpha=0.05)
    rate, naive_rate = ever_crowned(policy(settings), Worlds(Setting(300, 4, 0.5, spread=0.0)), 240, settings)
    assert rate <= 0.05
    if policy is Uniform:
        assert naive_rate > 0.1  # so the worlds could have told


def test_a_better_challenger_is_crowned():
    worlds = Worlds(Setting(20, 3, 0.5, seed=3))
    worlds.mu[:] = [0.0, -1.0, 1.5]
    play, rng = Play(Uniform(PolicySettings()), worlds, batch=4), generator("crown")
    while play.blocks < 240:
        play.pull(play.view(), rng)
    assert (champion(play.view(), PolicySettings()) == 2).all()
    assert (champion(play.view(), PolicySettings(alpha=1e-40)) == 0).mean() > 0.5

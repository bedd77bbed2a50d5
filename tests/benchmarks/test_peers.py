"""The worlds of `make peers` and our side of it; the peers themselves live in an environment of their own."""

import numpy as np
import pytest

from benchmarks.peers_ours import Ours
from benchmarks.peers_selection import ARMS, brute_force, crossing, ours, pool
from benchmarks.peers_world import INITIAL, NAIVE, OFFSET, STEP, World

pytestmark = pytest.mark.slow


def test_scores_are_functions_of_their_keys_whatever_the_order():
    one, two = World(3, 0.5), World(3, 0.5)
    keys = [(arm, block) for arm in (INITIAL, "0.1", NAIVE) for block in ("b0", "b1")]
    first = {key: one.score(*key) for key in keys}
    assert first == {key: two.score(*key) for key in reversed(keys)}
    assert one.renders == len(keys)
    assert one.score(INITIAL, "b0") == first[INITIAL, "b0"]
    assert one.renders == len(keys) + 1  # asked again is drawn again
    assert World(4, 0.5).score(INITIAL, "b0") != first[INITIAL, "b0"]


def test_every_method_meets_the_same_children():
    one, two = World(3, 0.5), World(3, 0.5)
    two.child("0.0")
    assert [one.child("0"), one.child("0")] == [two.child("0"), two.child("0")] == ["0.0", "0.1"]
    assert one.worth("0.0") == two.worth("0.0")
    assert one.worth(NAIVE) == one.worth(INITIAL) == 0.0


def test_worth_and_scores_have_the_distribution_that_is_said():
    world = World(0, 0.8)
    steps = np.array([world.worth(f"0.{k}") for k in range(4000)])
    assert (steps.mean(), steps.std()) == (pytest.approx(STEP[0], abs=0.02), pytest.approx(STEP[1], abs=0.02))
    blocks = [f"b{i}" for i in range(4000)]
    scores = np.array([[world.score(arm, block) for block in blocks] for arm in (INITIAL, NAIVE)]) - OFFSET
    assert scores.var() == pytest.approx(1.0, abs=0.06)
    assert np.corrcoef(scores)[0, 1] == pytest.approx(0.8, abs=0.03)


def test_our_loop_arrives_and_pays_for_naive_pictures():
    settings = {"policy": "t3c", "batch": 2, "pulls": 4, "recommend": "posterior", "parent": "best"}
    world = World(1, 0.5)
    found = Ours(**settings)(world, 0.3, 2000)
    assert found == world.renders > 0
    assert Ours(**settings)(World(1, 0.5), 50.0, 60) is None
    assert Ours(policy="ucb1", batch=4)(World(1, 0.5), -1.0, 100) == 8  # one pull: four pictures and four naive ones
    assert Ours(policy="ucb1", batch=4, naive=False)(World(1, 0.5), -1.0, 100) == 4


def test_selection_alone_finds_the_best_given_enough_pictures():
    [(pictures, lost)] = brute_force(World(5, 0.5), [400])
    assert (pictures, lost) == (400 * ARMS, pytest.approx(0.0, abs=0.1))
    points = ours("t3c", World(5, 0.8), [30, 60])
    assert [at for at, _ in points] == [30, 60]
    assert len(pool(World(5, 0.5))) == ARMS


def test_a_crossing_is_weighted_and_interpolated():
    curves = [[(10, 0.2), (20, 0.0)], [(10, 0.4), (20, 0.2)]]
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert crossing(curves, 0.15, weights).tolist() == [pytest.approx(12.5), pytest.approx(17.5), np.inf]

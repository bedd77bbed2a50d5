import math

import pytest

from bandit.pool import separated, surplus, top

INF = (-math.inf, math.inf)
BOUNDS = {"a": (0.0, 0.4), "b": (0.5, 0.9), "c": (0.3, 0.8), "d": (0.1, 1.4), "new": INF}


def test_top_is_by_lower_bound_and_leaves_untried_arms_out():
    assert top(BOUNDS, 3) == ["b", "c", "d"]
    assert top(BOUNDS, 9) == ["b", "c", "d", "a"]
    assert top({"x": INF}, 1) == []


def test_retires_what_lies_under_the_leader_first_then_the_lowest_upper_bound():
    assert surplus(BOUNDS, 5) == []
    assert surplus(BOUNDS, 4) == ["a"]  # its upper bound 0.4 is under b's lower bound 0.5
    assert surplus(BOUNDS, 3) == ["a", "c"]  # then the lowest upper bound
    assert surplus(BOUNDS, 2) == ["a", "c", "d"]


def test_never_retires_the_leader_or_an_untried_arm():
    assert surplus(BOUNDS, 1) == ["a", "c", "d"]  # b leads, new is untried: one over the cap
    assert surplus({"a": (0.0, 1.0), "x": INF, "y": INF}, 1) == []
    assert surplus({"x": INF, "y": INF}, 1) == []


def test_barren_arms_go_first():
    assert surplus(BOUNDS, 4, barren=["new"]) == ["new"]
    assert surplus(BOUNDS, 3, barren=["new"]) == ["new", "a"]


def test_the_cap_is_checked():
    with pytest.raises(ValueError, match="cap of the pool is 0"):
        surplus(BOUNDS, 0)


def test_separated():
    assert separated({"a": (0.5, 0.9), "b": (0.1, 0.5)})
    assert not separated({"a": (0.5, 0.9), "b": (0.1, 0.51)})
    assert not separated({"a": (0.5, 0.9), "new": INF})
    assert not separated({"new": INF})
    assert not separated({})
    assert separated({"a": (0.5, 0.9)})

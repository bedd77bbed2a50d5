"""Mean ranks and bars of a critical-difference view, by hand-computed examples."""

from core.records import Estimate
from experiments.report.ranking import groups, mean_curve, mean_ranks, ranking
from reports.records import PairLine


def pair(a: str, b: str, p: float | None) -> PairLine:
    return PairLine(a, b, Estimate(0.0, (0.0, 0.0)), p)


def test_ranks_are_averaged_and_ties_share_theirs() -> None:
    rows = [{"a": 3.0, "b": 2.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 0.0}]
    assert mean_ranks(rows) == {"a": 1.25, "b": 1.75, "c": 3.0}


def test_bars_join_the_longest_stretches_without_a_difference() -> None:
    order = ["a", "b", "c", "d"]
    assert groups(order, [pair("a", "c", 0.01), pair("a", "d", 0.01)]) == (("a", "b"), ("b", "c", "d"))
    assert groups(order, [pair(x, y, 0.049) for x in order for y in order if x < y]) == ()
    assert groups(order, []) == (("a", "b", "c", "d"),)
    assert groups(order, [pair("a", "b", 0.05), pair("b", "c", None)]) == (("a", "b", "c", "d"),)


def test_too_little_for_a_ranking() -> None:
    assert ranking([], [], unit="replicates", test="t") is None
    assert ranking([{"a": 1.0, "b": 2.0}], [], unit="replicates", test="t") is None
    assert ranking([{"a": 1.0}] * 5, [], unit="replicates", test="t") is None
    found = ranking([{"a": 1.0, "b": 2.0}] * 2, [pair("a", "b", 0.5)], unit="replicates", test="sign-flip")
    assert found is not None
    assert found.positions == {"a": 2.0, "b": 1.0}
    assert found.groups == (("b", "a"),)
    assert "2 replicates" in found.method
    assert "sign-flip" in found.method


def test_a_mean_curve_goes_in_steps_from_where_all_have_begun() -> None:
    points = mean_curve([[(10, 0.0), (30, 2.0)], [(20, 4.0)]])
    assert [(point.x, point.mean) for point in points] == [(20, 2.0), (30, 3.0)]
    assert all(point.low <= point.mean <= point.high for point in points)
    assert mean_curve([[(1, 0.0)], []]) == ()
    assert mean_curve([]) == ()

"""Which hypotheses a NeuroLogic search keeps."""

from refiner.beam import Node, select
from refiner.clauses import Verdict


def node(name: int, logprob: float, met: str = "00", under_way: tuple[int, float] = (-1, 0.0), **more: bool) -> Node:
    verdict = Verdict("", (), tuple(digit == "1" for digit in met), doubtful=more.get("doubtful", False))
    risk = ((0, 1),) if more.get("risk") else ()
    return Node(0, (name,), logprob, "", verdict, (), risk=risk, under_way=under_way)


def names(nodes: list[Node], width: int = 9, tolerance: int = 9) -> list[int]:
    return [kept.tokens[0] for kept in select(nodes, width, tolerance)]


def test_groups_take_turns_those_that_meet_more_first() -> None:
    nodes = [node(1, -1.0), node(2, -2.0), node(3, -9.0, "10"), node(4, -8.0, "10"), node(5, -7.0, "01")]
    assert names(nodes) == [5, 4, 1, 3, 2]
    assert names(nodes, width=2) == [5, 4]


def test_what_meets_too_little_comes_last_but_fills_an_empty_beam() -> None:
    nodes = [node(1, -1.0), node(2, -20.0, "11"), node(3, -30.0, "11")]
    assert names(nodes, tolerance=2) == [2, 1, 3]
    assert names(nodes, tolerance=1) == [2, 3, 1]


def test_a_broken_bound_that_may_heal_comes_last() -> None:
    assert names([node(1, -1.0, "11", doubtful=True), node(2, -9.0)]) == [2, 1]


def test_the_term_furthest_along_is_finished_first() -> None:
    nodes = [node(1, -1.0), node(2, -5.0, under_way=(0, 0.1)), node(3, -50.0, under_way=(0, 0.9)),
             node(4, -2.0, under_way=(1, 0.5))]  # fmt: skip
    assert names(nodes) == [3, 1, 4, 2]


def test_what_may_become_a_forbidden_term_leaves_room_for_what_does_not() -> None:
    assert names([node(1, -1.0, risk=True), node(2, -1.5, risk=True), node(3, -9.0)], width=2) == [3, 1]


def test_equal_values_are_kept_in_the_order_of_their_tokens() -> None:
    assert names([node(2, -1.0), node(1, -1.0)]) == [1, 2]

"""What counts pictures and compares counts in the miniworld half of `make peers`; no picture is drawn."""

import numpy as np
import pytest

from benchmarks.peers_drawn import Miniworld
from benchmarks.peers_oracle import neighbours
from benchmarks.peers_ours import Ours
from benchmarks.peers_tables import differences, summary
from benchmarks.peers_world import NAIVE, turn_of

pytestmark = pytest.mark.slow


class FakeOracle:
    """Says 0.5 for each picture, 0.1 less for the naive one, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def ask(self, **question):
        self.asked.append(question)
        if question["ask"] == "worth":
            return 3.0
        return [0.4 if question["arm"] == NAIVE else 0.5 for _ in question["blocks"]]


def test_a_picture_is_paid_once_and_held_out_ones_never():
    oracle = FakeOracle()
    world = Miniworld(7, oracle=oracle)
    assert world.scores("0", ["x0", "x1", "x0"]) == [0.5, 0.5, 0.5]
    assert world.renders == 2
    assert world.score("0", "x1") == 0.5
    assert world.score(NAIVE, "x1") == 0.4
    assert world.renders == 3
    assert world.worth("0") == world.worth("0") == 3.0
    assert world.renders == 3
    assert [question["ask"] for question in oracle.asked] == ["scores", "scores", "worth"]
    assert all(question["world"] == 7 for question in oracle.asked)


def test_our_loop_runs_on_it_and_pays_for_naive_pictures():
    world = Miniworld(0, oracle=FakeOracle())
    assert Ours(batch=4)(world, 2.0, 100) == 8
    assert world.child("0") == "0.0"


def test_children_come_in_twins():
    assert turn_of("0.5", 2) == ("0", 2, 1)
    assert turn_of("0.1.4", 2) == ("0.1", 2, 0)


@pytest.mark.parametrize(
    ("block", "near"),
    [
        ("x13", "x10|x11|x12|x13|x14"),
        ("3.0", "0.0|1.0|2.0|3.0|4.0"),
        ("7.0 0.1", "5.0 0.1|6.0 0.1|7.0 0.1|8.0 0.1|9.0 0.1"),
    ],
)
def test_a_chunk_is_filled_with_the_next_blocks_of_a_name(block, near):
    assert neighbours(block) == near.split("|")


def test_a_stopped_run_is_a_lower_bound():
    found = summary(np.array([100.0, np.nan, 300.0]), np.array([50.0, 100.0, 100.0]), 600)
    assert (found["renders_to_target"], found["over_ours"], found["censored"]) == (300.0, 3.0, 1)
    assert found["ci95"][0] >= 2.0
    assert found["ci95"][1] <= 6.0


def test_the_spot_check_tells_counts_that_differ(capsys):
    assert differences({"ours": 5, "gepa": None}, {"ours": 5, "gepa": None}) == 0
    assert differences({"ours": 5}, {"ours": 6}) == 1
    assert "DIFFERS from the file's 6" in capsys.readouterr().out

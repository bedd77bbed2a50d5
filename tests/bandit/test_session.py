import json
import math
from collections import Counter

import pytest

from bandit import POLICIES
from bandit.session import PATIENCE, Bandit
from bandit.statistics import ArmStatistics
from core.records import Pull
from core.seeding import generator
from tests.bandit.toy import new_bandit, play, scores_of


class Always:
    """A policy with a history that always names one arm."""

    def __init__(self, arm: str) -> None:
        self.arm = arm
        self.history = []

    def select(self, table, rng):
        self.history.append(table)
        return self.arm


def rng(*parts):
    return generator("session", *parts)


def test_an_arm_meets_the_batches_in_order_failed_ones_included():
    bandit = Bandit(Always("a"), arms=["a", "b"])
    assert bandit.ask("p0", rng()) == Pull("p0", "a", 0)
    bandit.tell("p0", {"b0": 1.0}, {"b0": 0.25})
    assert bandit.ask("p1", rng()) == Pull("p1", "a", 1)
    bandit.fail("p1", "refused")
    assert bandit.ask("p2", rng()) == Pull("p2", "a", 2)
    assert bandit.ask("p3", rng()) == Pull("p3", "a", 3)
    assert bandit.table() == {"a": {"b0": 0.75}, "b": {}}
    assert bandit.statistics() == {"a": ArmStatistics(1, 0.75), "b": ArmStatistics(0, None)}
    assert bandit.pulls("a") == 4


def test_scores_may_be_rewards_as_they_are():
    bandit = Bandit(Always("a"), reward="score", arms=["a"])
    bandit.tell(bandit.ask("p0", rng()).id, {"b0": 0.27}, {"b0": 0.25})
    assert bandit.table() == {"a": {"b0": 0.27}}


def test_naive_scores_reach_earlier_blocks_too():
    bandit = Bandit(Always("a"), arms=["a"])
    bandit.tell(bandit.ask("p0", rng()).id, {"b0": 1.0, "b1": 2.0}, {"b0": 0.5})
    assert bandit.table() == {"a": {"b0": 0.5}}
    bandit.tell(bandit.ask("p1", rng()).id, {}, {"b1": 0.5})
    assert bandit.table() == {"a": {"b0": 0.5, "b1": 1.5}}


@pytest.mark.parametrize("name", POLICIES)
def test_pulls_asked_for_together_spread_over_untried_arms(name):
    bandit = new_bandit(name, ["old"])
    play(bandit, {"old": 0.0}, seed=0, first=0, pulls=3)
    for arm in ("x", "y", "z"):
        bandit.add(arm)
    assert {bandit.ask(f"q{k}", rng(k)).arm for k in range(3)} == {"x", "y", "z"}
    assert bandit.ask("q3", rng(3)).arm == "old"


@pytest.mark.parametrize("name", POLICIES)
def test_pulls_asked_for_together_of_untried_arms_alone_are_shared_out(name):
    bandit = new_bandit(name, ["x", "y"])
    assert Counter(bandit.ask(f"q{k}", rng(k)).arm for k in range(6)) == {"x": 3, "y": 3}


def test_outstanding_pulls_are_imagined_with_the_arms_own_mean_and_spread():
    policy = Always("a")
    bandit = Bandit(policy, reward="score", arms=["a", "b"])
    for pull_id, blocks in (("p0", {"b0": 1.0, "b1": 3.0}), ("p1", {"b2": 1.0, "b3": 3.0})):
        bandit.tell(bandit.ask(pull_id, rng()).id, blocks, {})
    bandit.ask("p2", rng())
    bandit.ask("p3", rng())
    seen = policy.history[-1]
    sd = math.sqrt(4 / 3)
    assert sorted(seen["a"].values()) == pytest.approx([2 - sd, 1.0, 1.0, 3.0, 3.0, 2 + sd])
    assert sum(seen["a"].values()) / 6 == pytest.approx(2.0)
    assert len(bandit.table()["a"]) == 4  # imagined results are never facts


def test_ucb1_spreads_pulls_asked_for_together_as_if_results_had_come():
    bandit = new_bandit("ucb1", ["a", "b"], c=2.0)
    mu = {"a": 0.0, "b": 0.0}
    play(bandit, mu, seed=5, first=0, pulls=6)
    assert {bandit.ask(f"q{k}", rng(k)).arm for k in range(8)} == {"a", "b"}


@pytest.mark.parametrize("name", POLICIES)
def test_an_arm_that_always_fails_does_not_eat_the_budget(name):
    bandit = new_bandit(name, ["bad", "good"])
    for k in range(30):
        pull = bandit.ask(f"p{k}", rng(k))
        if pull.arm == "bad":
            bandit.fail(pull.id, "refused")
        else:
            bandit.tell(pull.id, *scores_of("good", pull.batch, {"good": 0.0}, 0))
    assert bandit.pulls("bad") == PATIENCE
    assert bandit.barren() == ["bad"]
    assert bandit.retire(cap=1) == ["bad"]
    bandit = new_bandit(name, ["bad"])
    for k in range(5):  # alone, it is still tried
        bandit.fail(bandit.ask(f"p{k}", rng(k)).id, "refused")
    assert bandit.leader() is None


def test_outstanding_pulls_are_not_fruitless():
    bandit = new_bandit("ucb1", ["a"])
    for k in range(PATIENCE + 1):
        bandit.ask(f"p{k}", rng(k))
    assert bandit.barren() == []


def test_a_barren_arm_does_not_keep_a_run_from_ending():
    bandit = new_bandit("ucb1", ["a", "b", "bad"])
    for k in range(12):
        pull = bandit.ask(f"p{k}", rng(k))
        if pull.arm == "bad":
            bandit.fail(pull.id, "refused")
        else:
            bandit.tell(pull.id, *scores_of(pull.arm, pull.batch, {"a": 0.0, "b": 3.0}, 0))
    assert bandit.barren() == ["bad"]
    assert bandit.separated()


def test_a_pull_whose_pictures_all_failed_counts_as_fruitless():
    bandit = Bandit(Always("a"), arms=["a"])
    for k in range(PATIENCE):
        assert bandit.barren() == []
        bandit.tell(bandit.ask(f"p{k}", rng()).id, {}, {"b0": 1.0})
    assert bandit.barren() == ["a"]


def test_parents_leaders_and_the_end_of_a_run():
    bandit = new_bandit("ucb1", ["a", "b", "c"])
    assert (bandit.leader(), bandit.select_parent(rng()), bandit.expandable(), bandit.separated()) == (
        None,
        None,
        [],
        False,
    )
    mu = {"a": 0.0, "b": 2.0, "c": 1.0}
    play(bandit, mu, seed=2, first=0, pulls=12)
    assert bandit.leader() == "b" == bandit.select_parent(rng())
    assert bandit.top(2) == ["b", "c"]
    assert bandit.separated()
    bandit.add("new")
    assert not bandit.separated()
    assert bandit.expandable() == ["a", "b", "c"]
    assert {bandit.select_parent(rng(k)) for k in range(20)} == {"b"}


def test_retired_arms_are_not_pulled_but_stay_on_record():
    bandit = new_bandit("uniform", ["a", "b", "c", "d"])
    play(bandit, {"a": 0.0, "b": 1.0, "c": 2.0, "d": 3.0}, seed=4, first=0, pulls=16)
    assert bandit.retire(cap=2) == ["a", "b"]
    assert bandit.pool == ["c", "d"] == list(bandit.table())
    assert set(play(bandit, {"c": 2.0, "d": 3.0}, seed=4, first=50, pulls=20)) == {"c", "d"}
    assert bandit.statistics()["a"].n > 0
    assert list(bandit.table(["a", "d"])) == ["a", "d"]
    assert bandit.retire(cap=2) == []


@pytest.mark.parametrize("scale", ["pooled-sd", "none"])
def test_judgements_do_not_depend_on_how_the_policy_explores(scale):
    reference, other = new_bandit("ucb1", ["a", "b"]), new_bandit("ucb1", ["a", "b"], c=0.0, reward_scale=scale)
    play(reference, {"a": 0.0, "b": 1.0}, seed=6, first=0, pulls=2)
    play(other, {"a": 0.0, "b": 1.0}, seed=6, first=0, pulls=2)
    assert reference.bounds() == other.bounds()


def test_variance_components_of_raw_scores():
    bandit = new_bandit("uniform", ["a", "b", "c"])
    assert bandit.components() is None
    play(bandit, {"a": 0.0, "b": 0.5, "c": 1.0}, seed=9, first=0, pulls=120)
    got = bandit.components()
    assert got["residual"] == pytest.approx(
        0.09 * 3 / 4, rel=0.3
    )  # naive, the fourth arm, has no noise of its own here
    assert got["block"] == pytest.approx(1.0, rel=0.3)
    assert got["rho"] == pytest.approx(got["block"] / (got["block"] + got["residual"]))
    assert json.loads(json.dumps(got)) == got


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="expected one of paired, score"):
        Bandit(Always("a"), reward="raw")
    bandit = Bandit(Always("a"), arms=["a"])
    for arm in ("a", "naive"):
        with pytest.raises(ValueError, match="choose another id"):
            bandit.add(arm)
    bandit.ask("p0", rng())
    with pytest.raises(ValueError, match="p0 is taken"):
        bandit.ask("p0", rng())
    with pytest.raises(ValueError, match="p9 is unknown"):
        bandit.tell("p9", {}, {})
    with pytest.raises(ValueError, match="block b0 is nan"):
        bandit.tell("p0", {"b0": math.nan}, {})
    with pytest.raises(ValueError, match="say why"):
        bandit.fail("p0", "")
    bandit.tell("p0", {"b0": 1.0}, {"b0": 0.0})
    with pytest.raises(ValueError, match="p0 is closed"):
        bandit.fail("p0", "late")

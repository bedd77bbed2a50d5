"""Every policy in POLICIES is held to core.interfaces.BanditPolicy; a newcomer is tested by its name."""

import json
import math
from collections import Counter
from dataclasses import asdict, fields, replace

import numpy as np
import pytest

from bandit import POLICIES, Policy, PolicySettings
from bandit.cells import Cells
from bandit.session import Bandit, PullFact
from bandit.view import View, view_of
from core.interfaces import BanditPolicy
from core.records import Pull
from core.seeding import generator
from tests.bandit.toy import play
from tests.bandit.toy_policy import Gumbel

ARMS = [f"a{i}" for i in range(8)]
SEEN = ("n", "mean", "pooled", "offered")
MU = {arm: 0.1 * i for i, arm in enumerate(ARMS)}

HELD = {**POLICIES, "toy": Gumbel}
every_policy = pytest.mark.parametrize("name", HELD)


def policy(name: str, **settings) -> Policy:
    return HELD[name](PolicySettings(**settings))


def new_bandit(name: str, arms) -> Bandit:
    return Bandit(policy(name), arms=arms)


@every_policy
def test_is_a_policy(name):
    assert isinstance(policy(name), BanditPolicy)


@every_policy
def test_has_no_state_but_its_settings(name):
    chooser = policy(name)
    assert [field.name for field in fields(chooser)] == ["settings"]
    play(Bandit(chooser, arms=ARMS[:3]), MU, seed=0, first=0, pulls=6)
    assert vars(chooser) == {"settings": PolicySettings()}
    with pytest.raises(AttributeError):
        chooser.settings = PolicySettings(c=2.0)
    assert PolicySettings(**json.loads(json.dumps(asdict(chooser.settings)))) == chooser.settings


@every_policy
def test_every_arm_is_reached_also_one_added_mid_run(name):
    bandit = new_bandit(name, ARMS)
    assert set(play(bandit, MU, seed=1, first=0, pulls=len(ARMS))) == set(ARMS)
    play(bandit, MU, seed=1, first=100, pulls=5)
    bandit.add("late")
    assert play(bandit, MU | {"late": -9.0}, seed=1, first=200, pulls=1) == ["late"]


@every_policy
def test_an_untried_arm_comes_before_any_other(name):
    table = {"good": {"b0": 100.0, "b1": 100.0}, "new": {}, "bad": {"b0": -1.0}}
    assert {policy(name, epsilon=1.0).select(table, generator(seed)) for seed in range(40)} == {"new"}


@every_policy
@pytest.mark.parametrize(
    "table",
    [
        {"a": {}},
        {"a": {"b": 0.0}},
        {"a": {"b": 0.0}, "c": {}},
        {"a": {"b": 0.3}, "c": {"b": 0.3}},
        {"a": {"b0": 0.0, "b1": 0.0}, "c": {"b0": 0.0, "b1": 0.0}},
        {"a": {"b0": 1e-300}, "c": {"b0": -1e150, "b1": 1e150}},
    ],
    ids=["untried", "one", "one-untried", "equal", "no-spread", "extreme"],
)
@pytest.mark.parametrize("scale", ["pooled-sd", "none"])
def test_chooses_a_known_arm_whatever_the_table(name, table, scale):
    chooser = policy(name, reward_scale=scale)
    with np.errstate(all="raise", under="ignore"):
        assert {chooser.select(table, generator(seed)) for seed in range(5)} <= set(table)
    if hasattr(chooser, "index"):
        assert not np.isnan(chooser.index(view_of(table))).any()


@every_policy
def test_refuses_nan_and_an_empty_table(name):
    with pytest.raises(ValueError, match="no arm"):
        policy(name).select({}, generator(0))
    with pytest.raises(ValueError, match="NaN"):
        policy(name).select({"a": {"b": math.nan}, "c": {"b": 0.0}}, generator(0))


@every_policy
@pytest.mark.parametrize("table", [{arm: {} for arm in ARMS[:4]}, {arm: {"b0": 0.1, "b1": 0.3} for arm in ARMS[:4]}])
def test_ties_are_broken_at_random(name, table):
    counts = Counter(policy(name, epsilon=0.0).select(table, generator("tie", seed)) for seed in range(200))
    assert set(counts) == set(table)
    assert all(25 <= count <= 75 for count in counts.values())  # 50 expected, sd 6.1


@every_policy
def test_the_order_of_facts_does_not_matter(name):
    rng = np.random.default_rng(0)
    rows = {
        arm: {f"b{i}": float(x) for i, x in enumerate(rng.normal(size=30) * 10.0 ** rng.integers(-8, 8))}
        for arm in ARMS
    }
    twin = dict(rows["a7"])  # equal means must stay exactly equal when their sums are formed in another order
    rows |= {"t1": twin, "t2": dict(reversed(twin.items()))}
    for seed in range(30):
        shuffled = {
            arm: {block: rows[arm][block] for block in rng.permutation(list(rows[arm]))}
            for arm in rng.permutation(list(rows))
        }
        assert policy(name).select(rows, generator(seed)) == policy(name).select(shuffled, generator(seed))


@every_policy
def test_replay_of_stored_facts_gives_the_same_next_choices(name):
    bandit = new_bandit(name, ARMS)
    play(bandit, MU, seed=3, first=0, pulls=20)
    bandit.fail(bandit.ask("f0", generator(3, "f0")).id, "the provider was down")
    retired = bandit.retire(cap=6)
    bandit.ask("open", generator(3, "open"))
    stored = json.loads(json.dumps({"facts": [asdict(f) for f in bandit.facts.values()], "naive": bandit.naive}))
    for order in range(5):
        generator("order", order).shuffle(stored["facts"])
        facts = [PullFact(Pull(**f["pull"]), f["scores"], f["error"]) for f in stored["facts"]]
        twin = Bandit.replay(policy(name), "paired", ARMS, facts, stored["naive"], retired)
        assert twin.table() == bandit.table()
        assert twin.bounds() == bandit.bounds()
        for seed in range(10):
            assert twin.select_parent(generator(seed)) == bandit.select_parent(generator(seed))
        assert twin.ask("n", generator(9)) == Bandit.replay(
            policy(name), "paired", ARMS, bandit.facts.values(), bandit.naive, retired
        ).ask("n", generator(9))
    assert len(retired) == 2


@every_policy
def test_an_arm_that_is_not_on_offer_is_not_chosen(name):
    stack = views(12)
    closed = np.zeros_like(stack.offered)
    closed[:, 2:5] = True
    for seed in range(5):
        assert set(policy(name).next_arms(replace(stack, offered=closed), generator(seed))) <= {2, 3, 4}


def views(worlds: int) -> View:
    """Many tables of the same arms and blocks as one view, without ties."""
    tables = []
    for world in range(worlds):
        rng = generator("views", world)
        tables.append(
            {arm: {f"b{i}": float(x) for i, x in enumerate(rng.normal(size=12 + k))} for k, arm in enumerate(ARMS)}
        )
    alone = [view_of(table) for table in tables]
    stacked = {name: np.concatenate([getattr(view, name) for view in alone]) for name in SEEN}
    return one_view(
        stacked, *(np.concatenate([getattr(v.evidence, name) for v in alone]) for name in ("values", "met"))
    )


def one_view(parts: dict[str, np.ndarray], values: np.ndarray, met: np.ndarray) -> View:
    return View(Cells(values, met), birth=np.arange(len(ARMS)), **parts)


@pytest.mark.parametrize("name", ["greedy", "ucb1", "ucb-v", "kl-ucb", "ucb-e", "lucb"])
def test_many_worlds_at_once_choose_as_each_world_alone(name):
    stack, chooser = views(40), policy(name)
    alone = []
    for world in range(40):
        place = slice(world, world + 1)
        one = {name: getattr(stack, name)[place] for name in SEEN}
        view = one_view(one, stack.evidence.values[place], stack.evidence.met[place])
        alone.append(int(chooser.next_arms(view, generator(0))[0]))
    assert chooser.next_arms(stack, generator(1)).tolist() == alone
    assert len(set(alone)) > 1

"""The tree of proposals: what an instruction becomes does not depend on what else a policy pulled."""

import time
from itertools import combinations
from pathlib import Path

import pytest

from core.progress import Silent
from core.records import Instruction
from experiments.run import run
from graph.lineage import Expansion, history, lineage_name
from prompt_db.run_store import RunStore
from tests.fakes import fake_models
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow
POLICIES = ("greedy", "eps-greedy", "ucb1", "uniform")

KNOWN = {
    arm.id: arm
    for arm in (
        Instruction("r0c0", "root"),
        Instruction("r1c0", "a", "r0c0", 1, 0),
        Instruction("r1c1", "b", "r0c0", 1, 1),
        Instruction("r2c0", "c", "r0c0", 2, 0),
        Instruction("r3c1", "d", "r1c1", 3, 1),
    )
}
STEPS = [
    Expansion(1, "r0c0", ("r1c0", "r1c1")),
    Expansion(2, "r0c0", ("r2c0",)),
    Expansion(3, "r1c1", ("r3c1",)),
    Expansion(4, "r1c1", ()),
]


def test_history_is_the_way_to_the_birth_and_then_the_own_expansions() -> None:
    def rounds(arm: str, before: int | None = None) -> list[int]:
        return [step.round for step in history(KNOWN, STEPS, arm, before)]

    assert rounds("r0c0") == [1, 2]
    assert rounds("r0c0", 2) == [1]
    assert rounds("r2c0") == [1, 2]
    assert rounds("r1c1") == [1, 3, 4]  # the root's second expansion came after its birth
    assert rounds("r3c1") == [1, 3]


def test_names_count_the_parents_expansions_not_the_rounds() -> None:
    assert lineage_name(KNOWN, STEPS, "r0c0") == "r0c0"
    assert lineage_name(KNOWN, STEPS, "r2c0") == "r0c0/1.0"
    assert lineage_name(KNOWN, STEPS, "r3c1") == "r0c0/0.1/0.1"


def tree(tmp: Path, policy: str, **sections: dict[str, object]) -> tuple[dict[str, str], dict[object, object]]:
    """Run and return the instructions by lineage, and the scores by (lineage, block)."""
    config = stub_config(
        tmp,
        run={"rounds": 7, "batch_size": 3, "pulls_per_round": 4},
        bandit={"policy": policy},
        loop={"evidence": "lineage"},
        score={"watch": []},
        **sections,
    )
    folder = stub_folder(tmp, config, policy)
    run(folder, config, Silent(), started=time.time(), models=fake_models())
    store = RunStore.reader(folder.database)
    known = {arm.id: arm for arm in store.instructions()}
    steps = [
        Expansion(row["round"], row["arm"], tuple(i.id for i in known.values() if i.round == row["round"]))
        for row in store.rows("SELECT round, arm FROM gradient ORDER BY round")
    ]
    name = {arm: lineage_name(known, steps, arm) for arm in known}
    scores = {
        (name.get(arm, arm), block): value
        for arm, row in store.raw_scores("fake-scorer", "train").items()
        for block, value in row.items()
    }
    store.close()
    return {name[arm]: known[arm].text for arm in known}, scores


def test_policies_that_expand_the_same_parent_get_the_same_children_and_the_same_scores(tmp_path: Path) -> None:
    runs = [tree(tmp_path, policy) for policy in POLICIES]
    deepest = 0
    for (one, one_scores), (two, two_scores) in combinations(runs, 2):
        common, met = one.keys() & two.keys(), one_scores.keys() & two_scores.keys()
        assert {name: one[name] for name in common} == {name: two[name] for name in common}
        assert {key: one_scores[key] for key in met} == {key: two_scores[key] for key in met}
        deepest = max(deepest, *(name.count(".") for name in common))
    assert deepest >= 2, "the runs have too little in common for this test to mean anything"
    assert len({tuple(sorted(texts)) for texts, _ in runs}) > 1, "the policies should not all build one tree"

"""The ledger: caps are never overshot, a charge is counted once, what was in flight at a kill is listed."""

from pathlib import Path

import pytest

from core.errors import BudgetReached
from core.records import Completion
from prompt_db.ledger import Caps, Ledger, busy_seconds, loop_seconds, totals
from prompt_db.run_store import RunStore


@pytest.fixture
def store(tmp_path: Path):
    store = RunStore.writer(tmp_path / "run.db")
    yield store
    store.close()


def test_a_cap_is_checked_before_spending_and_never_overshot(store: RunStore) -> None:
    ledger = Ledger(store, Caps(max_renders=5), 1)
    ledger.reserve("render", ["a", "b", "c"])
    with pytest.raises(BudgetReached, match="3 of 5 pictures are spent, and 3 more are needed; raise --max-renders"):
        ledger.reserve("render", ["d", "e", "f"])
    assert ledger.spent("render") == 3
    ledger.reserve("render", ["d", "e"])
    assert ledger.room("render") == 0


def test_the_same_work_is_charged_once(store: RunStore) -> None:
    ledger = Ledger(store, Caps(max_renders=2), 1)
    for _ in range(3):
        ledger.reserve("render", ["a", "b"])
        ledger.settle(["a", "b"], cached=False)
    assert totals(store)["renders"] == 2


def test_what_was_in_flight_at_a_kill_is_listed_and_counts_against_the_cap(store: RunStore) -> None:
    Ledger(store, Caps(), 1).reserve("render", ["a", "b"])
    second = Ledger(store, Caps(max_renders=5), 2)
    assert [row["charge_id"] for row in store.rows("SELECT * FROM unknown_call")] == ["a", "b"]
    assert second.spent("render") == 2
    second.reserve("render", ["a", "b"])
    second.settle(["a", "b"], cached=False)
    assert totals(store)["renders"] == 2
    assert totals(store)["unknown"] == {"render": 2}
    assert second.room("render") == 1


def test_doing_again_what_a_kill_cut_off_is_refused_when_it_does_not_fit(store: RunStore) -> None:
    Ledger(store, Caps(), 1).reserve("render", ["a", "b"])
    second = Ledger(store, Caps(max_renders=3), 2)
    with pytest.raises(BudgetReached, match="2 of 3 pictures are spent, and 2 more are needed; raise --max-renders"):
        second.reserve("render", ["a", "b"])
    assert second.spent("render") == 2


def test_an_unknown_price_makes_the_sum_unknown_not_zero(store: RunStore) -> None:
    ledger = Ledger(store, Caps(), 1)
    ledger.reserve("llm", ["x", "y"])
    ledger.settle_llm("x", Completion("hi", 10, 5, usd=0.25))
    assert totals(store)["usd"] == 0.25
    ledger.settle_llm("y", Completion("hi", 10, 5, usd=None))
    found = totals(store)
    assert found["usd"] is None
    assert (found["llm_calls"], found["prompt_tokens"], found["completion_tokens"]) == (2, 20, 10)


def test_busy_seconds_are_the_union_of_intervals(store: RunStore) -> None:
    for started, ended in ((0.0, 2.0), (1.0, 3.0), (1.5, 1.8), (10.0, 11.0)):
        store.append("busy", {"kind": "llm", "started": started, "ended": ended})
    assert busy_seconds(store, "llm") == pytest.approx(4.0)
    assert busy_seconds(store, "render") == 0.0


def test_a_killed_session_ends_at_its_last_heartbeat(store: RunStore) -> None:
    killed = store.append("session", {"pid": 1, "started": 100.0, "loop_started": 105.0})
    store.upsert("heartbeat", [{"session": killed, "at": 125.0}])
    store.append("session", {"pid": 2, "started": 200.0, "loop_started": 203.0, "ended": 210.0})
    assert loop_seconds(store) == (8.0, 27.0)

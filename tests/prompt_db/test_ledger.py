"""The ledger: caps are never overshot, a charge is counted once, what was in flight at a kill is listed."""

import threading
from itertools import count
from pathlib import Path
from random import Random

import pytest

from core.errors import BudgetReached
from core.pricing import CallCost, Price, nano
from core.records import Completion
from prompt_db.caps import CAP_KINDS, Caps
from prompt_db.ledger import Ledger, busy_seconds, loop_seconds, overruns, totals
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


def test_every_cap_has_a_field_and_a_flag() -> None:
    assert {cap.key for cap in CAP_KINDS} == set(Caps.__dataclass_fields__)
    assert len({cap.flag for cap in CAP_KINDS}) == len(CAP_KINDS)


LIMITS = Caps(max_renders=40, max_llm_calls=30, max_llm_tokens=20_000, max_usd=0.02)
PRICE = Price(0.7, 3.1)


def counted(ledger: Ledger) -> dict[str, float]:
    return {cap.kind: ledger.spent(cap.kind) for cap in CAP_KINDS if cap.kind != "seconds"}


def require_kept(ledger: Ledger) -> None:
    for kind, spent in counted(ledger).items():
        assert nano(spent) <= nano(LIMITS.of(kind)), kind


@pytest.mark.parametrize("seed", range(12))
def test_no_random_sequence_of_work_and_kills_overshoots_any_cap(store: RunStore, seed: int) -> None:
    rng, ids, session = Random(seed), count(), 1  # noqa: S311
    ledger, flying, refused = Ledger(store, LIMITS, session, price=PRICE), {}, 0
    for _ in range(150):
        action = rng.choice(["render", "llm", "llm", "settle", "settle", "lose", "kill", "promise"])
        try:
            if action == "render":
                work = [f"r{next(ids)}" for _ in range(rng.randint(1, 4))]
                ledger.reserve("render", work)
                ledger.settle(work, cached=rng.random() < 0.5)
            elif action == "llm":
                charge, sent, back = f"l{next(ids)}", rng.randint(1, 900), rng.randint(1, 600)
                ledger.reserve("llm", [charge], CallCost(sent + back, PRICE.usd(sent, back)))
                flying[charge] = (sent, back)
            elif action == "settle" and flying:
                charge, (sent, back) = flying.popitem()
                reply = Completion("", rng.randint(0, sent), rng.randint(0, back))
                ledger.settle_llm(charge, reply)
            elif action == "lose" and flying:
                charge, (sent, back) = flying.popitem()
                ledger.lose(ledger.reserve_again(charge, CallCost(sent + back, PRICE.usd(sent, back))))
                flying[charge] = (sent, back)
            elif action == "promise":
                ledger.promise({"later": {"llm": rng.randint(0, 5), "tokens": rng.randint(0, 3000), "render": 3}})
            elif action == "kill" and rng.random() < 0.2:
                session += 1
                ledger, flying = Ledger(store, LIMITS, session, price=PRICE), {}
        except BudgetReached:
            refused += 1
        require_kept(ledger)
    assert refused, "a property that never meets a cap proves nothing"


def test_parallel_reservations_never_overshoot_together(store: RunStore) -> None:
    ledger = Ledger(store, LIMITS, 1, price=PRICE)
    refused: list[str] = []

    def work(number: int) -> None:
        for k in range(10):
            try:
                ledger.reserve("llm", [f"{number}.{k}"], CallCost(900, PRICE.usd(500, 400)))
            except BudgetReached as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require_kept(ledger)
    assert len(refused) == 80 - ledger.spent("llm")
    assert ledger.spent("usd") == pytest.approx(0.02, abs=PRICE.usd(500, 400))


def test_what_is_promised_is_out_of_reach_of_all_but_its_owner(store: RunStore) -> None:
    ledger = Ledger(store, Caps(max_llm_calls=3, max_llm_tokens=100), 1)
    ledger.promise({"mine": {"llm": 1, "tokens": 40}, "later": {"llm": 1, "tokens": 30}})
    with pytest.raises(
        BudgetReached, match=r"0 of 100 tokens are spent, 70 tokens are reserved for .* and 31 more are needed"
    ):
        ledger.reserve("llm", ["other"], CallCost(31))
    ledger.reserve("llm", ["other"], CallCost(30))
    with pytest.raises(BudgetReached, match="raise --max-llm-calls"):
        ledger.reserve("llm", ["another"], CallCost(0))
    ledger.reserve("llm", ["mine"], CallCost(40))
    assert ledger.free("tokens") == 0


def test_without_a_usage_the_reservation_stands_as_an_estimate(store: RunStore) -> None:
    ledger = Ledger(store, Caps(), 1, price=PRICE)
    ledger.reserve("llm", ["a"], CallCost(700, PRICE.usd(400, 300)))
    ledger.settle_llm("a", Completion("hi"))
    found = totals(store)
    assert (found["llm_tokens"], found["llm_calls_estimated"], found["usd"]) == (700, 1, PRICE.usd(400, 300))


def test_a_provider_that_reports_more_than_was_reserved_is_charged_and_named(store: RunStore) -> None:
    ledger = Ledger(store, Caps(), 1, price=PRICE)
    ledger.reserve("llm", ["a", "b"], CallCost(50, PRICE.usd(30, 20)))
    ledger.settle_llm("a", Completion("hi", 30, 20))
    assert overruns(store) == []
    ledger.settle_llm("b", Completion("hi", 31, 29))
    assert totals(store)["llm_tokens"] == 110
    [warning] = overruns(store)
    assert "in 1 LLM calls by 10 tokens" in warning


def test_a_released_reservation_costs_nothing(store: RunStore) -> None:
    ledger = Ledger(store, Caps(max_llm_calls=1), 1)
    ledger.reserve("llm", ["a"], CallCost(5))
    ledger.release("a")
    assert (ledger.spent("llm"), ledger.spent("tokens")) == (0, 0)
    ledger.reserve("llm", ["b"], CallCost(5))


def test_a_price_that_comes_later_counts_the_earlier_calls(store: RunStore) -> None:
    first = Ledger(store, Caps(), 1)
    first.reserve("llm", ["a", "b"], CallCost(500, None))
    first.settle_llm("a", Completion("hi", 100, 50))
    second = Ledger(store, Caps(max_usd=1.0), 2, price=Price(1.0, 2.0))
    assert second.spent("usd") == pytest.approx(0.0002 + 500 * 2 / 1e6)


def test_seconds_go_on_counting_in_the_next_session_and_stop_new_work(store: RunStore) -> None:
    store.append("session", {"pid": 1, "started": 100.0, "loop_started": 105.0, "ended": 130.0})
    session, now = store.append("session", {"pid": 2, "started": 1000.0}), [1005.0]
    ledger = Ledger(store, Caps(max_seconds=40.0), session, clock=lambda: now[0])
    assert ledger.spent("seconds") == 35.0
    ledger.promise({"evaluation": {"seconds": 4.0}})
    ledger.reserve("score", ["a"])
    now[0] = 1006.5
    with pytest.raises(BudgetReached, match=r"36.5 of 40.0 s are spent, 4.0 s are reserved .*; raise --max-seconds"):
        ledger.reserve("score", ["b"])
    ledger.promise({})
    ledger.reserve("score", ["b"])


def test_a_run_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    from prompt_db.run_schema import RUN_MIGRATIONS
    from prompt_db.schema import open_writable

    path = tmp_path / "old.db"
    database = open_writable(path, RUN_MIGRATIONS[:1])
    row = {"id": "a", "kind": "llm", "status": "done", "cached": 0}
    database.table("charge").insert({**row, "prompt_tokens": 7, "completion_tokens": 5, "usd": 0.25})
    database.close()
    reader = RunStore.reader(path)
    found = totals(reader)
    reader.close()
    assert (found["llm_tokens"], found["usd"]) == (12, 0.25)
    writer = RunStore.writer(path)
    assert Ledger(writer, Caps(), 1).spent("tokens") == 12
    writer.close()

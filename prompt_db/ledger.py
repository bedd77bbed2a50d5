"""One ledger for renders, scores, LLM calls, tokens, USD and seconds, kept as rows of `run.db`.

Charges are ids that are functions of the work (not of the attempt), so a step that runs again after a kill is charged
once; what was in flight at the kill is listed as *unknown* and counted against the caps at its worst case, and what is
done again is charged again. A cap is checked before spending, with everything in flight at its worst case and with what
is promised to others (validation and test), so it is never overshot. Seconds alone may be, by the chunk in hand.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from core.errors import BudgetReached
from core.pricing import NANO, CallCost, Price, nano, whole_nano
from core.records import Completion
from prompt_db.caps import CAP_KINDS, CAP_OF, Amounts, CapKind, Caps
from prompt_db.run_store import RunStore

KINDS = ("render", "score", "llm")
_MONEY = f"coalesce(sum(CAST(round(usd * {NANO}) AS INTEGER)), 0)"
_COUNTED = {"render": "count(*)", "llm": "count(*)", "score": "count(*)", "tokens": "coalesce(sum(tokens), 0)"}
_SPENT = (
    "SELECT (SELECT {what} FROM charge WHERE kind = ? AND status != 'unknown')"
    " + (SELECT {what} FROM unknown_call WHERE kind = ?) AS n"
)


class Ledger:
    """Reserves before, settles after, and sums up.

    Args:
        store: the run's facts.
        caps: its limits.
        session: number of this process's session.
        price: of the LLM; None is unknown.
        clock: the time, as in the store's sessions.
    """

    def __init__(
        self,
        store: RunStore,
        caps: Caps,
        session: int,
        *,
        price: Price | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._session = session
        self._clock = clock
        self._promised: dict[str, Amounts] = {}
        self.caps = caps
        self.price = price
        self._note_unknown()
        self._price_what_had_no_price()

    def _note_unknown(self) -> None:
        """List what was reserved but not settled when the last process died, at its worst case."""
        in_flight = self._store.rows("SELECT id, kind, tokens, usd FROM charge WHERE status = 'reserved'")
        with self._store.atomic():
            for row in in_flight:
                facts = {"charge_id": row["id"], "kind": row["kind"], "session": self._session}
                self._store.append("unknown_call", {**facts, "tokens": row["tokens"], "usd": row["usd"]})
            self._store.upsert("charge", ({"id": row["id"], "status": "unknown"} for row in in_flight))

    def _price_what_had_no_price(self) -> None:
        """Price the calls of earlier sessions when the price is known only now, so that a cap on USD can count them."""
        price = self.price
        if price is None:
            return
        with self._store.atomic():
            rows = self._store.rows(
                "SELECT id, tokens, prompt_tokens AS p, completion_tokens AS c FROM charge"
                " WHERE kind = 'llm' AND usd IS NULL AND tokens IS NOT NULL"
            )
            self._store.upsert(
                "charge",
                ({"id": row["id"], "usd": _usd(price, row["tokens"], row["p"], row["c"])} for row in rows),
            )
            rows = self._store.rows("SELECT id, tokens FROM unknown_call WHERE kind = 'llm' AND usd IS NULL")
            self._store.upsert(
                "unknown_call", ({"id": row["id"], "usd": _usd(price, row["tokens"] or 0, None, None)} for row in rows)
            )

    # --- what there is

    def spent(self, kind: str) -> float:
        """Return what counts against a kind's cap: everything done, in flight, or in flight at a kill."""
        if kind == "seconds":
            return self._seconds()
        what, table_kind = (_MONEY, "llm") if kind == "usd" else (_COUNTED[kind], "llm" if kind == "tokens" else kind)
        found = int(self._store.rows(_SPENT.format(what=what), [table_kind, table_kind])[0]["n"])
        return found / NANO if kind == "usd" else found

    def _seconds(self) -> float:
        """Return the wall seconds of all sessions; a killed one ended at its last sign of life."""
        total = 0.0
        for row in self._store.rows(
            "SELECT id, started, coalesce(ended, at, loop_started, started) AS until FROM session"
            " LEFT JOIN heartbeat ON heartbeat.session = session.id"
        ):
            total += max(0.0, (self._clock() if row["id"] == self._session else row["until"]) - row["started"])
        return total

    def room(self, kind: str) -> float:
        """Return how many more of a kind the cap allows (infinity without a cap)."""
        cap = self.caps.of(kind)
        if cap is None:
            return float("inf")
        if kind == "usd":
            return (nano(cap) - nano(self.spent(kind))) / NANO
        return cap - self.spent(kind)

    def promise(self, promised: Mapping[str, Amounts]) -> None:
        """Set aside what others will need; it replaces the last promise.

        Args:
            promised: amounts by name. A name that is a charge's id is that charge's own: reserving it uses it up. All
                other names are out of everyone's reach until the next promise.
        """
        self._promised = dict(promised)

    def promised(self, kind: str, *, but: Iterable[str] = ()) -> float:
        """Return how much of a kind is set aside, `but` what is set aside for these charges."""
        own = set(but)
        amount = sum(part.get(kind, 0) for name, part in self._promised.items() if name not in own)
        return round(amount * NANO) / NANO if kind == "usd" else amount

    def free(self, kind: str, *, but: Iterable[str] = ()) -> float:
        """Return how much of a kind the cap leaves beside what is set aside, `but` for these charges."""
        left = self.room(kind) - self.promised(kind, but=but)
        return round(left * NANO) / NANO if kind == "usd" and self.caps.max_usd is not None else left

    # --- spending

    def reserve(self, kind: str, ids: Sequence[str], worst: CallCost | None = None) -> list[str]:
        """Write the intent to spend, before the effect: all of it, or nothing. Return the charges that are new.

        Args:
            kind: `render`, `score` or `llm`.
            ids: the charges; those that are reserved or done already cost nothing more.
            worst: the most that each may cost beside itself.

        Raises:
            BudgetReached: a cap would be overshot; nothing is reserved.
        """
        cost = worst or CallCost()
        with self._store.atomic():
            marks = ", ".join("?" * len(ids))
            sql = f"SELECT id FROM charge WHERE status != 'unknown' AND id IN ({marks})"
            known = {row["id"] for row in self._store.rows(sql, ids)}
            new = [charge for charge in ids if charge not in known]
            if not new:
                return []
            each = cost.times(len(new))
            needs = {kind: len(new), "tokens": each.tokens, "usd": each.usd or 0.0, "seconds": 0.0}
            for cap in CAP_KINDS:
                if needs.get(cap.kind) or cap.kind == "seconds":
                    self._check(cap, needs[cap.kind], new)
            row: dict[str, Any] = {"kind": kind, "status": "reserved"}
            if kind == "llm":
                row |= {"tokens": cost.tokens, "usd": cost.usd, "worst_tokens": cost.tokens, "worst_usd": cost.usd}
            self._store.upsert("charge", ({"id": charge, **row} for charge in new))
        for charge in new:
            self._promised.pop(charge, None)
        return new

    def reserve_again(self, charge: str, worst: CallCost) -> str:
        """Reserve one more attempt at a call, under a new id that is returned.

        Raises:
            BudgetReached: a cap would be overshot; nothing is reserved.
        """
        with self._store.atomic():
            sql = "SELECT id FROM charge WHERE substr(id, 1, ?) = ?"
            taken = {row["id"] for row in self._store.rows(sql, [len(charge) + 1, f"{charge}~"])}
            again = next(name for k in itertools.count(1) if (name := f"{charge}~{k}") not in taken)
            self.reserve("llm", [again], worst)
        return again

    def _check(self, cap: CapKind, need: float, ids: Sequence[str]) -> None:
        limit = self.caps.of(cap.kind)
        if limit is None:
            return
        free = self.free(cap.kind, but=ids)
        if need > free or (cap.kind == "seconds" and free <= 0):
            raise BudgetReached(explain(cap, limit, self.spent(cap.kind), self.promised(cap.kind, but=ids), need))

    def settle(self, ids: Iterable[str], *, cached: bool) -> None:
        """Mark reserved renders or scores as done; `cached` ones cost nothing."""
        self._store.upsert("charge", ({"id": charge, "status": "done", "cached": int(cached)} for charge in ids))

    def settle_llm(self, charge: str, completion: Completion) -> None:
        """Mark a reserved LLM call as done, at its true cost; without a usage its reservation stands, as an estimate.

        USD is the price of its tokens, else the provider's own figure, else None: unknown, never 0.
        """
        row: dict[str, Any] = {"id": charge, "status": "done", "cached": int(completion.cached)}
        if not completion.prompt_tokens:
            self._store.upsert("charge", [{**row, "estimated": 1}])
            return
        sent, received = completion.prompt_tokens, completion.completion_tokens
        usd = completion.usd if self.price is None else self.price.usd(sent, received)
        row |= {"prompt_tokens": sent, "completion_tokens": received, "tokens": sent + received, "estimated": 0}
        self._store.upsert("charge", [{**row, "usd": None if usd is None else whole_nano(usd)}])

    def lose(self, charge: str) -> None:
        """Let a reservation stand as the charge: the call gave no answer but may have been billed."""
        self._store.upsert("charge", [{"id": charge, "status": "done", "cached": 0, "estimated": 1}])

    def release(self, charge: str) -> None:
        """Take a reservation back: the call was refused and not billed."""
        with self._store.atomic():
            self._store.delete_reservation(charge)

    def sent(self, charge: str, outcomes: Iterable[str]) -> None:
        """Store the requests that were really sent for a charge, each with how it ended."""
        with self._store.atomic():
            for outcome in outcomes:
                row = {"session": self._session, "charge_id": charge, "at": self._clock(), "outcome": outcome}
                self._store.append("llm_request", row)

    @contextmanager
    def busy(self, kind: str) -> Iterator[None]:
        """Record the interval during which a kind of work runs."""
        started = time.time()
        try:
            yield
        finally:
            self._store.append("busy", {"kind": kind, "started": started, "ended": time.time()})


def explain(cap: CapKind, limit: float, spent: float, promised: float, need: float) -> str:
    """Say in one line what is spent, what is set aside, what is needed, and which flag to raise."""
    amount = cap.show(limit) if cap.kind in {"usd", "seconds"} else f"{limit:.0f} {cap.unit}"
    used = cap.show(spent).removesuffix(f" {cap.unit}").removesuffix(" s")
    aside = f", {cap.show(promised)} are reserved for validation and test" if promised else ""
    more = f", and {cap.show(need).removesuffix(f' {cap.unit}')} more are needed" if need else ""
    return f"{used} of {amount} are spent{aside}{more}; raise {cap.flag}"


def _usd(price: Price, tokens: int, sent: int | None, received: int | None) -> float:
    """Return a call's price; of one whose tokens are known only in sum, the highest it can be."""
    if sent is None or received is None:
        return max(price.usd(tokens, 0), price.usd(0, tokens))
    return price.usd(sent, received)


def requests(store: RunStore) -> dict[str, int]:
    """Count the requests that were sent to the LLM provider by how they ended, `ok` among them."""
    if not store.has_column("llm_request", "id"):  # a run of an earlier version, opened for reading
        return {}
    counted = store.rows("SELECT outcome, count(*) AS n FROM llm_request GROUP BY outcome ORDER BY n DESC, outcome")
    return {row["outcome"]: row["n"] for row in counted}


def busy_seconds(store: RunStore, kind: str) -> float:
    """Return the length of the union of a kind's busy intervals."""
    total, end = 0.0, float("-inf")
    for row in store.rows("SELECT started, ended FROM busy WHERE kind = ? ORDER BY started", [kind]):
        total += max(0.0, row["ended"] - max(row["started"], end))
        end = max(end, row["ended"])
    return total


def loop_seconds(store: RunStore) -> tuple[float, float]:
    """Return (startup, loop) seconds over all sessions; a killed session ends at its last heartbeat."""
    startup = loop = 0.0
    for row in store.rows(
        "SELECT started, loop_started, coalesce(ended, at, loop_started) AS until FROM session"
        " LEFT JOIN heartbeat ON heartbeat.session = session.id"
    ):
        if row["loop_started"] is not None:
            startup += row["loop_started"] - row["started"]
            loop += max(0.0, row["until"] - row["loop_started"])
    return startup, loop


def totals(store: RunStore) -> Mapping[str, Any]:
    """Return the `ledger` block of `summary.json`: what is done, and under `unknown` what was in flight at kills."""
    old = not store.has_column("charge", "tokens")  # a run of an earlier version, opened for reading
    tokens = "coalesce(sum(tokens), 0) AS tokens, coalesce(sum(estimated), 0) AS estimated"
    if old:
        tokens = "0 AS tokens, 0 AS estimated"
    counts = {
        row["kind"]: row
        for row in store.rows(
            "SELECT kind, count(*) AS n, coalesce(sum(cached), 0) AS cached,"
            " coalesce(sum(prompt_tokens), 0) AS prompt_tokens,"
            f" coalesce(sum(completion_tokens), 0) AS completion_tokens, {tokens},"
            f" CASE WHEN count(*) = count(usd) THEN {_MONEY} END AS nano_usd"
            " FROM charge WHERE status = 'done' GROUP BY kind"
        )
    }
    render, score, llm = (counts.get(kind, {}) for kind in KINDS)
    startup, loop = loop_seconds(store)
    return {
        "renders": render.get("n", 0),
        "renders_cached": render.get("cached", 0),
        "scores": score.get("n", 0),
        "llm_calls": llm.get("n", 0),
        "llm_calls_cached": llm.get("cached", 0),
        "llm_requests": sum(requests(store).values()),
        "llm_calls_estimated": llm.get("estimated", 0),
        "prompt_tokens": llm.get("prompt_tokens", 0),
        "completion_tokens": llm.get("completion_tokens", 0),
        "llm_tokens": llm.get("tokens", 0) or llm.get("prompt_tokens", 0) + llm.get("completion_tokens", 0),
        "usd": llm["nano_usd"] / NANO if llm.get("nano_usd") is not None else None,
        "unknown": {} if old else _unknown(store),
        "startup_seconds": round(startup, 3),
        "loop_seconds": round(loop, 3),
        "total_seconds": round(startup + loop, 3),
        **{f"{kind}_seconds": round(busy_seconds(store, kind), 3) for kind in KINDS},
    }


def _unknown(store: RunStore) -> dict[str, Any]:
    """Return what was in flight at kills, at its worst case; empty without a kill."""
    found = {row["kind"]: row["n"] for row in store.rows("SELECT kind, count(*) AS n FROM unknown_call GROUP BY kind")}
    if "llm" in found:
        [sums] = store.rows(
            f"SELECT coalesce(sum(tokens), 0) AS tokens, CASE WHEN count(*) = count(usd) THEN {_MONEY} END AS nano_usd"
            " FROM unknown_call WHERE kind = 'llm'"
        )
        money = sums["nano_usd"]
        found |= {"tokens": sums["tokens"], "usd": None if money is None else money / NANO}
    return found


def in_flight_at_kills(store: RunStore, kind: str) -> int:
    """Return how many charges of a kind were lost when processes died; for a run that nobody is working on."""
    [row] = store.rows(
        "SELECT (SELECT count(*) FROM unknown_call WHERE kind = ?)"
        " + (SELECT count(*) FROM charge WHERE kind = ? AND status = 'reserved') AS n",
        [kind, kind],
    )
    return int(row["n"])


def overruns(store: RunStore) -> list[str]:
    """Return a warning when a provider reported more than was reserved: then caps may be overshot by as much."""
    [row] = store.rows(
        "SELECT count(*) AS n, coalesce(sum(max(tokens - worst_tokens, 0)), 0) AS tokens,"
        " coalesce(sum(max(usd - worst_usd, 0.0)), 0.0) AS usd FROM charge"
        " WHERE status = 'done' AND (tokens > worst_tokens OR usd > worst_usd)"
    )
    if not row["n"]:
        return []
    money = f" and {CAP_OF['usd'].show(row['usd'])}" if row["usd"] else ""
    return [
        f"budget: the provider reported more than a call can cost, in {row['n']} LLM calls by {row['tokens']} tokens"
        f"{money} together; caps on tokens and USD may be overshot by as much"
    ]

"""One ledger for renders, scores, LLM calls, tokens, USD and seconds, kept as rows of `run.db`.

Charges are ids that are functions of the work (not of the attempt), so a step that runs again after a kill is charged
once; what was in flight at the kill is listed as *unknown* and counted against the caps. A cap is checked before
spending, so it is never overshot.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.errors import BudgetReached
from core.records import Completion
from prompt_db.run_store import RunStore

KINDS = ("render", "score", "llm")


@dataclass(frozen=True)
class Caps:
    """Upper limits of a run; None is no limit. Cached work counts too, so a cap means the same on a warm cache."""

    max_renders: int | None = None
    max_llm_calls: int | None = None

    def of(self, kind: str) -> int | None:
        """Return the cap of a kind of charge."""
        return {"render": self.max_renders, "llm": self.max_llm_calls}.get(kind)

    def flag(self, kind: str) -> str:
        """Return the command line flag that sets the cap."""
        return {"render": "--max-renders", "llm": "--max-llm-calls"}[kind]


class Ledger:
    """Reserves before, settles after, and sums up."""

    def __init__(self, store: RunStore, caps: Caps, session: int) -> None:
        self._store = store
        self._session = session
        self.caps = caps
        self._note_unknown()

    def _note_unknown(self) -> None:
        """List what was reserved but not settled when the last process died."""
        in_flight = self._store.rows("SELECT id, kind FROM charge WHERE status = 'reserved'")
        with self._store.atomic():
            for row in in_flight:
                facts = {"charge_id": row["id"], "kind": row["kind"], "session": self._session}
                self._store.append("unknown_call", facts)
            self._store.upsert("charge", ({"id": row["id"], "status": "unknown"} for row in in_flight))

    def spent(self, kind: str) -> int:
        """Return what counts against a kind's cap: all charges, and every call in flight at a kill."""
        return int(
            self._store.rows(
                "SELECT (SELECT count(*) FROM charge WHERE kind = ?)"
                " + (SELECT count(*) FROM unknown_call WHERE kind = ?) AS n",
                [kind, kind],
            )[0]["n"]
        )

    def room(self, kind: str) -> float:
        """Return how many more of a kind the cap allows (infinity without a cap)."""
        cap = self.caps.of(kind)
        return float("inf") if cap is None else cap - self.spent(kind)

    def reserve(self, kind: str, ids: Sequence[str]) -> None:
        """Write the intent to spend, before the effect.

        Raises:
            BudgetReached: the cap would be overshot; nothing is reserved.
        """
        with self._store.atomic():
            marks = ", ".join("?" * len(ids))
            known = {row["id"] for row in self._store.rows(f"SELECT id FROM charge WHERE id IN ({marks})", ids)}
            new = [charge for charge in ids if charge not in known]
            if len(new) > self.room(kind):
                raise BudgetReached(
                    f"{self.spent(kind)} of {self.caps.of(kind)} {kind} calls are spent and "
                    f"{len(new)} more are needed; raise {self.caps.flag(kind)}"
                )
            self._store.upsert("charge", ({"id": charge, "kind": kind, "status": "reserved"} for charge in ids))

    def settle(self, ids: Iterable[str], *, cached: bool) -> None:
        """Mark reserved renders or scores as done; `cached` ones cost nothing."""
        self._store.upsert("charge", ({"id": charge, "status": "done", "cached": int(cached)} for charge in ids))

    def settle_llm(self, charge: str, completion: Completion) -> None:
        """Mark a reserved LLM call as done, with its tokens and price (None = unknown)."""
        self._store.upsert(
            "charge",
            [
                {
                    "id": charge,
                    "status": "done",
                    "cached": int(completion.cached),
                    "prompt_tokens": completion.prompt_tokens,
                    "completion_tokens": completion.completion_tokens,
                    "usd": completion.usd,
                }
            ],
        )

    @contextmanager
    def busy(self, kind: str) -> Iterator[None]:
        """Record the interval during which a kind of work runs."""
        started = time.time()
        try:
            yield
        finally:
            self._store.append("busy", {"kind": kind, "started": started, "ended": time.time()})


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
    """Return the `ledger` block of `summary.json`."""
    counts = {
        row["kind"]: row
        for row in store.rows(
            "SELECT kind, count(*) AS n, coalesce(sum(cached), 0) AS cached,"
            " coalesce(sum(prompt_tokens), 0) AS prompt_tokens,"
            " coalesce(sum(completion_tokens), 0) AS completion_tokens,"
            " CASE WHEN count(*) = count(usd) THEN sum(usd) END AS usd FROM charge WHERE status = 'done' GROUP BY kind"
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
        "prompt_tokens": llm.get("prompt_tokens", 0),
        "completion_tokens": llm.get("completion_tokens", 0),
        "usd": llm.get("usd"),
        "startup_seconds": round(startup, 3),
        "loop_seconds": round(loop, 3),
        **{f"{kind}_seconds": round(busy_seconds(store, kind), 3) for kind in KINDS},
    }

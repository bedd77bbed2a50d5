"""The caps of a run in one table: what each counts, in which unit, which flag sets it."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.pricing import NANO

Amounts = Mapping[str, float]
"""How much of each kind: `render`, `llm` (calls), `tokens`, `usd`, `seconds`. A missing kind is 0."""


@dataclass(frozen=True)
class CapKind:
    """One kind of cap.

    Attributes:
        kind: its name in the ledger.
        unit: what one of it is called.
        flag: the command line flag that sets it; its configuration key is `budget.` and the flag with underscores.
    """

    kind: str
    unit: str
    flag: str

    @property
    def key(self) -> str:
        """Return the field of `Caps`, the configuration key and the flag's parameter name."""
        return self.flag.removeprefix("--").replace("-", "_")

    def show(self, amount: float) -> str:
        """Return an amount with its unit, for a person."""
        if self.kind == "usd":
            return f"${amount:.6g}"
        return f"{amount:.1f} s" if self.kind == "seconds" else f"{int(amount)} {self.unit}"


CAP_KINDS = (
    CapKind("render", "pictures", "--max-renders"),
    CapKind("llm", "LLM calls", "--max-llm-calls"),
    CapKind("tokens", "tokens", "--max-llm-tokens"),
    CapKind("usd", "USD", "--max-usd"),
    CapKind("seconds", "seconds", "--max-seconds"),
)
CAP_OF = {cap.kind: cap for cap in CAP_KINDS}


@dataclass(frozen=True)
class Caps:
    """Upper limits of a run; None is no limit. Cached work counts too, so a cap means the same on a warm cache."""

    max_renders: int | None = None
    max_llm_calls: int | None = None
    max_llm_tokens: int | None = None
    max_usd: float | None = None
    max_seconds: float | None = None

    def of(self, kind: str) -> float | None:
        """Return the cap of a kind; None where there is none (scores have no cap)."""
        return getattr(self, CAP_OF[kind].key) if kind in CAP_OF else None

    @property
    def money(self) -> bool:
        """Say whether tokens or USD are capped, so that the worst case of calls has to be known."""
        return self.max_llm_tokens is not None or self.max_usd is not None


def total(*amounts: Amounts) -> dict[str, float]:
    """Add up amounts, kind by kind; USD stays in whole nanodollars."""
    result: dict[str, float] = {}
    for part in amounts:
        for kind, amount in part.items():
            result[kind] = result.get(kind, 0) + amount
    if "usd" in result:
        result["usd"] = round(result["usd"] * NANO) / NANO
    return result

"""What an LLM call costs at most, before it is made, and what it cost, after it: tokens and USD."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from core.records import ChatRequest

NANO = 10**9
"""Money is counted in whole nanodollars, so that sums are exact and a cap cannot be overshot by a rounding error."""
PER_REQUEST = 64
"""Tokens that a request may cost beside its text: markers of roles, begin and end, a server's default system line."""
PER_MESSAGE = 16
WITH_SCHEMA = 600
"""Tokens that a provider may add to explain a reply's JSON schema, beside the schema itself."""


@dataclass(frozen=True)
class Price:
    """USD per million tokens, sent and received."""

    sent: float
    received: float

    def usd(self, sent: int, received: int) -> float:
        """Return the price of so many tokens in USD, rounded up to a whole nanodollar."""
        return whole_nano((sent * self.sent + received * self.received) / 10**6)


@dataclass(frozen=True)
class CallCost:
    """Tokens and USD of a call, or of several; `usd` is None when the price is unknown."""

    tokens: int = 0
    usd: float | None = 0.0

    def __add__(self, other: "CallCost") -> "CallCost":
        usd = None if self.usd is None or other.usd is None else whole_nano(self.usd + other.usd)
        return CallCost(self.tokens + other.tokens, usd)

    def times(self, calls: int) -> "CallCost":
        """Return the cost of so many such calls."""
        return CallCost(self.tokens * calls, None if self.usd is None else whole_nano(self.usd * calls))


def whole_nano(usd: float) -> float:
    """Return an amount rounded up to a whole nanodollar."""
    return math.ceil(round(usd * NANO, 3)) / NANO


def nano(usd: float) -> int:
    """Return an amount in nanodollars."""
    return round(usd * NANO)


def sent_at_most(request: ChatRequest) -> int:
    """Return an upper bound of a request's prompt tokens: the UTF-8 bytes of all it says, and an allowance.

    Why this is a bound: every tokenizer in use (byte-level BPE, SentencePiece with byte fallback) makes at most one
    token of a byte. English has about four bytes a token, so the bound is about four times the truth. Markers that a
    chat format adds are covered by the allowance. A provider that reports more is not hidden: see the ledger.
    """
    texts = sum(len(message.content.encode()) + PER_MESSAGE for message in request.messages)
    return PER_REQUEST + texts + _schema_tokens(request.json_schema)


def _schema_tokens(schema: Mapping[str, object] | None) -> int:
    return 0 if schema is None else WITH_SCHEMA + len(json.dumps(dict(schema)).encode())


def worst_case(request: ChatRequest, price: Price | None) -> CallCost:
    """Return what a call costs at most: its prompt's bound, and a reply as long as it allows."""
    sent = sent_at_most(request)
    return CallCost(sent + request.max_tokens, price.usd(sent, request.max_tokens) if price else None)

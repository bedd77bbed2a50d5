"""What an LLM call is charged: its usage, its reservation when that is unknown, and requests that may be billed."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import BudgetReached, ProviderError
from core.pricing import Price, worst_case
from core.records import ChatRequest, Completion, Message
from core.scope import call_scope, note_request
from experiments.metered import MeteredChat
from prompt_db.cache_store import CacheStore
from prompt_db.caps import Caps
from prompt_db.ledger import Ledger, totals

PRICE = Price(1.0, 2.0)


@dataclass
class Provider:
    """Sends a request for each outcome in turn, as the retry layer does; the last one decides how the call ends."""

    outcomes: list[str] = field(default_factory=lambda: ["ok"])
    usage: tuple[int, int] = (10, 5)
    name: str = "provider"
    sent: int = 0
    flying: int = 0
    most: int = 0

    async def complete(self, request: ChatRequest) -> Completion:
        self.flying += 1
        self.most = max(self.most, self.flying)
        await asyncio.sleep(0)
        try:
            for outcome in self.outcomes:
                ended = note_request()
                self.sent += 1
                ended(outcome)
        finally:
            self.flying -= 1
        if self.outcomes[-1] != "ok":
            raise ProviderError(f"answered {self.outcomes[-1]}")
        return Completion("fine", *self.usage)


def request(number: int = 0) -> ChatRequest:
    return ChatRequest((Message("user", "hello"),), number, max_tokens=50)


WORST = worst_case(request(), PRICE)


def ask(chat: MeteredChat, *numbers: int) -> list[Completion | BaseException]:
    async def one(number: int) -> Completion:
        with call_scope(f"work {number}"):
            return await chat.complete(request(number))

    async def all_of_them() -> list[Completion | BaseException]:
        return list(await asyncio.gather(*map(one, numbers), return_exceptions=True))

    return asyncio.run(all_of_them())


def test_a_call_is_settled_at_its_usage_and_a_cached_one_costs_what_it_cost(tools) -> None:
    store, cache = tools
    chat = MeteredChat(Provider(), cache, Ledger(store, Caps(), 1, price=PRICE))
    ask(chat, 0)
    assert (totals(store)["llm_tokens"], totals(store)["usd"]) == (15, 20e-6)
    with call_scope("again"):
        asyncio.run(chat.complete(request(0)))
    assert (totals(store)["llm_tokens"], totals(store)["llm_calls_cached"]) == (30, 1)


def test_requests_that_may_have_been_billed_are_charged_and_refused_ones_are_not(tools) -> None:
    store, cache = tools
    chat = MeteredChat(Provider(["429", "500", "no answer", "ok"]), cache, Ledger(store, Caps(), 1, price=PRICE))
    ask(chat, 0)
    found = totals(store)
    assert (found["llm_calls"], found["llm_calls_estimated"]) == (3, 2)
    assert found["llm_tokens"] == 15 + 2 * WORST.tokens


def test_a_repeated_request_that_would_overshoot_is_not_sent(tools) -> None:
    store, cache = tools
    ledger, provider = Ledger(store, Caps(max_llm_tokens=2 * WORST.tokens), 1), Provider(["500", "500", "ok"])
    [outcome] = ask(MeteredChat(provider, cache, ledger), 0)
    assert isinstance(outcome, BudgetReached)
    assert provider.sent == 2
    assert ledger.spent("tokens") == 2 * WORST.tokens


def test_a_refused_call_is_taken_back_and_a_lost_one_counts_in_the_next_session(tools) -> None:
    store, cache = tools
    ledger = Ledger(store, Caps(), 1)
    ask(MeteredChat(Provider(["401"]), cache, ledger), 0)
    assert (ledger.spent("llm"), ledger.spent("tokens")) == (0, 0)
    ask(MeteredChat(Provider(["no answer"]), cache, ledger), 0)
    assert totals(store)["llm_calls"] == 0
    again = Ledger(store, Caps(), 2)
    assert (again.spent("llm"), again.spent("tokens")) == (1, WORST.tokens)
    ask(MeteredChat(Provider(), cache, again), 0)
    assert (again.spent("llm"), again.spent("tokens")) == (2, WORST.tokens + 15)


def test_a_call_done_before_a_kill_whose_reply_is_gone_is_charged_again(tools, tmp_path: Path) -> None:
    store, cache = tools
    ask(MeteredChat(Provider(), cache, Ledger(store, Caps(), 1)), 0)
    empty = CacheStore(tmp_path / "another.db")
    ask(MeteredChat(Provider(), empty, Ledger(store, Caps(), 2)), 0)
    empty.close()
    assert (totals(store)["llm_calls"], totals(store)["llm_tokens"]) == (2, 30)


@pytest.mark.parametrize("kind", ["llm", "tokens", "usd"])
def test_calls_in_flight_together_never_overshoot(tools, kind: str) -> None:
    store, cache = tools
    caps = {
        "llm": Caps(max_llm_calls=7),
        "tokens": Caps(max_llm_tokens=7 * WORST.tokens + 1),
        "usd": Caps(max_usd=7.5 * (WORST.usd or 0)),
    }[kind]
    ledger, provider = Ledger(store, caps, 1, price=PRICE), Provider(usage=(WORST.tokens - 50, 50))
    outcomes = ask(MeteredChat(provider, cache, ledger), *range(30))
    assert sum(isinstance(outcome, BudgetReached) for outcome in outcomes) == 23
    assert provider.most == 7
    assert ledger.room(kind) >= 0

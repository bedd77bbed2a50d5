"""Metered LLM calls: reserved, cached by everything that determines them, logged when real."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import BudgetReached, ProviderError
from core.records import ChatRequest, Completion, Message
from core.scope import call_scope, note_request
from experiments.metered import MeteredChat
from prompt_db.ledger import Caps, Ledger, requests, totals


@dataclass
class Scripted:
    """Answers with a running number and remembers what it was asked."""

    name: str = "scripted"
    asked: list[ChatRequest] = field(default_factory=list)

    async def complete(self, request: ChatRequest) -> Completion:
        self.asked.append(request)
        return Completion(f"answer {len(self.asked)}", 3, 2)


def ask(chat: MeteredChat, work: str, **changes: object) -> Completion:
    async def once() -> Completion:
        with call_scope(work):
            return await chat.complete(ChatRequest((Message("user", "hello"),), **changes))  # type: ignore[arg-type]

    return asyncio.run(once())


def test_the_same_request_is_asked_once_and_charged_twice(tools) -> None:
    store, cache = tools
    model = Scripted()
    chat = MeteredChat(model, cache, Ledger(store, Caps(), 1))
    first, second = ask(chat, "a"), ask(chat, "b")
    assert (first.text, second.text) == ("answer 1", "answer 1")
    assert (first.cached, second.cached) == (False, True)
    assert len(model.asked) == 1
    assert (totals(store)["llm_calls"], totals(store)["llm_calls_cached"]) == (2, 1)


@pytest.mark.parametrize(
    "changes", [{"replicate": 1}, {"temperature": 0.1}, {"max_tokens": 5}, {"json_schema": {"type": "object"}}]
)
def test_whatever_changes_a_reply_changes_its_key(tools, changes) -> None:
    store, cache = tools
    chat = MeteredChat(Scripted(), cache, Ledger(store, Caps(), 1))
    assert ask(chat, "a").text != ask(chat, "b", **changes).text


def test_two_servers_do_not_share_replies(tools) -> None:
    store, cache = tools
    model, ledger = Scripted(), Ledger(store, Caps(), 1)
    ask(MeteredChat(model, cache, ledger, api_base="http://one"), "a")
    ask(MeteredChat(model, cache, ledger, api_base="http://two"), "b")
    assert len(model.asked) == 2


def test_a_cap_stops_the_call_before_it_is_made(tools) -> None:
    store, cache = tools
    model = Scripted()
    chat = MeteredChat(model, cache, Ledger(store, Caps(max_llm_calls=1), 1))
    ask(chat, "a")
    with pytest.raises(BudgetReached, match="--max-llm-calls"):
        ask(chat, "b", replicate=9)
    assert len(model.asked) == 1


def test_real_calls_alone_are_logged(tools, tmp_path: Path, monkeypatch) -> None:
    store, cache = tools
    monkeypatch.setenv("BRUSHUP_CALL_LOG", str(tmp_path / "calls"))
    chat = MeteredChat(Scripted(), cache, Ledger(store, Caps(), 1))
    ask(chat, "a")
    ask(chat, "b")
    assert [json.loads(line)["kind"] for line in (tmp_path / "calls").read_text().splitlines()] == ["llm"]


def test_a_call_outside_any_scope_is_a_bug(tools) -> None:
    store, cache = tools
    chat = MeteredChat(Scripted(), cache, Ledger(store, Caps(), 1))
    with pytest.raises(LookupError, match="outside call_scope"):
        asyncio.run(chat.complete(ChatRequest((Message("user", "hello"),))))


@dataclass
class Flaky:
    """Notes its requests as a real chat model does; the last one says how the call ends."""

    outcomes: list[str]
    finish: str = "stop"
    text: str = "fine"
    name: str = "flaky"

    async def complete(self, request: ChatRequest) -> Completion:
        for outcome in self.outcomes:
            note_request()(outcome)
        if self.outcomes[-1] == "401":
            raise ProviderError("refused")
        if self.outcomes[-1] == "hang":
            note_request()
            await asyncio.sleep(60)
        return Completion(self.text, 3, 2, finish_reason=self.finish)


def test_every_request_is_stored_with_how_it_ended(tools) -> None:
    store, cache = tools
    ledger = Ledger(store, Caps(), 1)
    ask(MeteredChat(Flaky(["429", "500", "ok"]), cache, ledger), "a")
    ask(MeteredChat(Flaky(["ok"]), cache, ledger), "b")  # from the cache: nothing is sent
    assert requests(store) == {"429": 1, "500": 1, "ok": 1}
    with pytest.raises(ProviderError):
        ask(MeteredChat(Flaky(["401"]), cache, ledger), "c", replicate=1)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(cancelled(MeteredChat(Flaky(["500", "hang"]), cache, ledger)), 0.2))
    assert requests(store) == {"500": 2, "401": 1, "429": 1, "cut off": 1, "hang": 1, "ok": 1}
    assert totals(store)["llm_requests"] == 7


async def cancelled(chat: MeteredChat) -> None:
    with call_scope("d"):
        await chat.complete(ChatRequest((Message("user", "hello"),), 2))


@pytest.mark.parametrize(
    ("finish", "text"), [("length", "cut"), ("content_filter", ""), ("refusal", "x"), ("stop", " ")]
)
def test_a_reply_that_was_cut_or_refused_is_never_kept(tools, finish, text) -> None:
    store, cache = tools
    ledger = Ledger(store, Caps(), 1)
    ask(MeteredChat(Flaky(["ok"], finish, text), cache, ledger), "a")
    again = ask(MeteredChat(Flaky(["ok"]), cache, ledger), "b")
    assert (again.text, again.cached) == ("fine", False)

"""Limits per minute on a clock that only the test moves."""

import asyncio

import pytest

from agents import make_chat_model
from agents.limits import Gate, Limits, SlidingWindow, estimated_tokens
from core.errors import BadInput
from core.records import ChatRequest, Message


def most_in_a_minute(times):
    return max(sum(start <= time < start + 60 for time in times) for start in times)


def test_no_minute_holds_more_requests_than_allowed():
    window = SlidingWindow(5, None)
    times = [window.reserve(now, 1).at for now in [0.0] * 8 + [30.0] * 4 + [200.0]]
    assert times[:8] == [0.0] * 5 + [60.0] * 3
    assert times == sorted(times)
    assert most_in_a_minute(times) == 5
    assert times[-1] == 200.0


def test_no_minute_holds_more_tokens_than_allowed_and_real_usage_frees_room():
    window = SlidingWindow(None, 1000)
    first = window.reserve(0.0, 600)
    assert window.reserve(0.0, 400).at == 0.0
    assert window.reserve(1.0, 300).at == 60.0
    window = SlidingWindow(None, 1000)
    first = window.reserve(0.0, 600)
    first.used(100)
    assert window.reserve(1.0, 900).at == 1.0
    first.used(0)
    assert first.tokens == 100, "0 is an unknown number, not nothing"


def test_a_request_over_the_limit_alone_goes_by_itself():
    window = SlidingWindow(None, 1000)
    assert window.reserve(0.0, 5000).at == 0.0
    assert window.reserve(0.0, 5000).at == 60.0
    assert window.reserve(0.0, 10).at == 120.0


def test_a_turn_given_back_is_free_again():
    window = SlidingWindow(1, None)
    window.give_back(window.reserve(0.0, 1))
    assert window.reserve(0.0, 1).at == 0.0


def test_the_gate_waits_for_the_turn():
    now, sent = [0.0], []

    async def sleep(seconds):
        now[0] += seconds

    async def go():
        gate = Gate(Limits(1, rpm=2), clock=lambda: now[0], sleep=sleep)
        for _ in range(5):
            async with gate.slot(10):
                sent.append(now[0])

    asyncio.run(go())
    assert sent == [0.0, 0.0, 60.0, 60.0, 120.0]


def test_without_limits_nothing_waits_or_is_remembered():
    window = SlidingWindow(None, None)
    assert {window.reserve(0.0, 10**9).at for _ in range(1000)} == {0.0}
    assert not window._turns


def test_an_estimate_counts_the_text_and_the_longest_reply():
    assert estimated_tokens(ChatRequest((Message("user", "x" * 400),), max_tokens=50)) == 150


@pytest.mark.parametrize("limits", [Limits(0), Limits(1, rpm=-1), Limits(1, tpm=-5)])
def test_limits_must_be_positive(limits):
    with pytest.raises(BadInput, match="positive"):
        make_chat_model("offline/agents", limits=limits)

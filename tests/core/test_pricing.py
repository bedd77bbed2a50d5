"""Worst cases are upper bounds, money is exact, unknown is never 0."""

from importlib.util import find_spec

import pytest

from core.pricing import CallCost, Price, nano, sent_at_most, whole_nano, worst_case
from core.records import ChatRequest, Message

VOCABULARIES = "litellm_core_utils/tokenizers"


def asking(*texts: str, **more: object) -> ChatRequest:
    return ChatRequest(tuple(Message("user", text) for text in texts), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "a red cat", "ein rötlicher Kater", "赤い猫", "🐈" * 40, "a" * 5000])
def test_the_bound_covers_every_byte_and_the_markers(text: str) -> None:
    assert sent_at_most(asking(text)) > len(text.encode()) + 10
    assert sent_at_most(asking(text, text)) > 2 * len(text.encode()) + 20
    assert sent_at_most(asking(text, json_schema={"type": "object"})) > sent_at_most(asking(text)) + 500


def test_the_bound_holds_for_a_real_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    tiktoken, spec = pytest.importorskip("tiktoken"), find_spec("litellm")
    assert spec is not None  # it brings the vocabulary, so nothing is downloaded
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", f"{next(iter(spec.submodule_search_locations))}/{VOCABULARIES}")
    encoding = tiktoken.get_encoding("cl100k_base")
    for text in ("a red cat, highly detailed", "赤い猫 🐈 ﷽ ㍿", "{}[]<>\\n\\t" * 9, "\x00\x7f\u200b" * 20, "𓀀𓀁 ꙮ"):
        assert len(encoding.encode(text)) <= len(text.encode()) < sent_at_most(asking(text))


def test_the_worst_case_is_the_bound_and_the_longest_reply() -> None:
    request = asking("a cat", max_tokens=100)
    sent = sent_at_most(request)
    assert worst_case(request, Price(2.0, 10.0)) == CallCost(sent + 100, Price(2.0, 10.0).usd(sent, 100))
    assert worst_case(request, None) == CallCost(sent + 100, None)


def test_money_is_counted_in_whole_nanodollars_rounded_up() -> None:
    assert Price(0.15, 0.6).usd(1000, 1000) == 0.00075
    assert Price(0.0001, 0.0).usd(1, 0) == 1e-9
    assert whole_nano(0.3) == 0.3
    assert nano((CallCost(1, 0.1) + CallCost(1, 0.2)).usd or 0) == 300_000_000
    assert CallCost(1, 0.1).times(3) == CallCost(3, 0.3)
    assert (CallCost(1, None) + CallCost(1, 0.2)).usd is None

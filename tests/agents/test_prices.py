"""Prices: the user's, litellm's table, or unknown."""

import sys

import pytest

from agents.prices import price_of
from core.errors import BadInput
from core.pricing import Price


def test_the_table_knows_a_model_under_its_provider_without_importing_litellm() -> None:
    loaded = "litellm" in sys.modules
    found = price_of("openai/gpt-4o-mini")
    assert found == Price(0.15, 0.6)
    assert price_of("gemini/gemini-2.5-pro") == Price(1.25, 10.0)
    assert ("litellm" in sys.modules) == loaded


@pytest.mark.parametrize("model", ["openai/no-such-model", "anthropic/gpt-4o-mini", "perplexity/sonar", "llama3"])
def test_what_the_table_does_not_tell_is_unknown(model: str) -> None:
    assert price_of(model) is None


def test_a_server_of_ones_own_has_no_price_unless_one_is_given() -> None:
    assert price_of("openai/gpt-4o-mini", api_base="http://localhost:1") is None
    assert price_of("llama3", api_base="http://localhost:1", price_in=0.1, price_out=0.2) == Price(0.1, 0.2)


def test_the_offline_agents_cost_nothing_and_given_prices_win() -> None:
    assert price_of("offline/agents") == Price(0.0, 0.0)
    assert price_of("offline/agents", price_in=1.0, price_out=2.0) == Price(1.0, 2.0)


@pytest.mark.parametrize(
    ("prices", "missing"), [({"price_in": 1.0}, "--price-out"), ({"price_out": 1.0}, "--price-in")]
)
def test_half_a_price_is_refused(prices: dict[str, float], missing: str) -> None:
    with pytest.raises(BadInput, match=missing):
        price_of("openai/gpt-4o-mini", **prices)

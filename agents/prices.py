"""Prices of models: given by the user, or from the cost map that the litellm package brings; nothing is downloaded."""

import functools
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.pricing import Price

_COST_MAP = "model_prices_and_context_window_backup.json"
_NOT_BY_TOKEN_ALONE = frozenset({"perplexity"})
"""Providers that charge for every request beside its tokens."""


def price_of(
    model: str, *, api_base: str | None = None, price_in: float | None = None, price_out: float | None = None
) -> Price | None:
    """Return a model's price, or None when it is unknown. Unknown is never 0.

    Prices that the user gives win over all others, for `offline/agents` too (to rehearse a budget). The offline agents
    cost nothing. What runs behind an `api_base` has no price unless one is given.

    Args:
        model: provider and name.
        api_base: address of a server of the user's own.
        price_in: USD per million tokens sent.
        price_out: USD per million tokens received.

    Raises:
        BadInput: one of the two prices is missing.
    """
    if price_in is not None and price_out is not None:
        return Price(price_in, price_out)
    if price_in is not None or price_out is not None:
        missing = "--price-out (agents.price_out)" if price_out is None else "--price-in (agents.price_in)"
        raise BadInput(f"{missing} is missing: give both prices, in USD per million tokens, or none")
    if model.startswith("offline/"):
        return Price(0.0, 0.0)
    return None if api_base is not None else _known_price(model)


def _known_price(model: str) -> Price | None:
    provider, _, name = model.partition("/")
    found = _cost_map()
    entry = found.get(model) or found.get(name) or {}
    if model not in found and entry.get("litellm_provider") != provider:
        return None
    sent, received = _number(entry.get("input_cost_per_token")), _number(entry.get("output_cost_per_token"))
    if sent is None or received is None:
        return None
    if entry.get("input_cost_per_request") or entry.get("litellm_provider") in _NOT_BY_TOKEN_ALONE:
        return None
    received = max(received, _number(entry.get("output_cost_per_reasoning_token")) or 0.0)
    return Price(round(1e6 * sent, 9), round(1e6 * received, 9))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@functools.cache
def _cost_map() -> dict[str, dict[str, Any]]:
    """Read litellm's own copy of its cost map as a file: importing litellm takes seconds."""
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    try:
        file = Path(next(iter(spec.submodule_search_locations))) / _COST_MAP
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""Parameters that not every model takes: which one a refusal is about, so that the call can go on without it."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

OPTIONAL = ("response_format", "temperature", "seed")
_REFUSING = frozenset({400, 422})
_ABOUT_SCHEMA = re.compile(
    r"response_format|json[_ ]?schema|structured[_ ]?output|guided[_ ]?(?:json|decoding)|grammar", re.IGNORECASE
)


def refused_parameter(status: int | None, named: object, body: object, sent: Collection[str]) -> str | None:
    """Return the optional parameter that a provider refused, or None when the refusal is about something else.

    Args:
        status: HTTP status.
        named: what the provider names as the parameter, if it does.
        body: the provider's error, text or JSON.
        sent: names of the parameters that this very request had (others in flight may have been adapted already).
    """
    if status not in _REFUSING:
        return None
    name = str(named or "").partition(".")[0]
    if name in OPTIONAL and name in sent:
        return name
    text = body if isinstance(body, str) else json.dumps(body, default=str)
    if "response_format" in sent and _ABOUT_SCHEMA.search(text):
        return "response_format"
    return next((key for key in OPTIONAL if key in sent and re.search(rf"""['"`]{key}['"`]""", text)), None)


def response_format(schema: Mapping[str, object]) -> dict[str, Any]:
    """Return OpenAI's form of "answer with JSON of this schema and nothing else"."""
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": dict(schema), "strict": True}}

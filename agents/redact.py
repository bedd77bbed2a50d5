"""Keeps secrets out of texts: whatever a provider echoes, no API key reaches an error, a log or a file."""

import os
import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)", re.IGNORECASE)
_SHAPES = (
    re.compile(r"\b(?:sk|pk|rk|xai|gsk|hf|r8)[-_][A-Za-z0-9_\-]{8,}"),
    re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._\-]{8,}"),
    re.compile(r"\bAIza[A-Za-z0-9_\-]{20,}"),
    re.compile(r"(?<=://)[^/\s@]+@"),
)
_MASK = "[redacted]"
_SHORTEST = 8


def secrets(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the values of all environment variables that are named like a secret, longest first."""
    source = os.environ if environ is None else environ
    found = {value for name, value in source.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)


def redact(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the text without secrets of the environment and without anything shaped like a key."""
    for shape in _SHAPES:
        text = shape.sub(_MASK, text)
    return redact_values(text, environ)


def redact_values(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the text without the secrets of the environment; for replies, whose other text must stay as it is."""
    for value in secrets(environ):
        text = text.replace(value, _MASK)
    return text

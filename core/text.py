"""Pure text helpers shared by the agents and the prompt database: phrases, content words, n-grams, hashes."""

import hashlib
import json
import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_STOP = frozenset(
    "a an and are as at be by for from has in into is it its of on or over that the their this to under up with near"
    " next while".split()
)


def phrases(prompt: str) -> list[str]:
    """Split a prompt at commas into stripped, non-empty phrases, in order."""
    return [part for part in (piece.strip(" .\t\n") for piece in prompt.split(",")) if part]


def words(text: str) -> list[str]:
    """Return the lower-cased words of a text, in order."""
    return [match.group(0).lower() for match in _WORD.finditer(text)]


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning: everything but articles, prepositions and the like."""
    return [word for word in words(text) if word not in _STOP]


def ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    """Return the set of word n-grams of a text."""
    tokens = words(text)
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def one_line(value: object) -> str:
    """Return what an error or a reply says in one line of at most 200 characters."""
    return " ".join(str(value).split())[:200]


def stable_json(value: object) -> str:
    """Serialise to JSON with sorted keys and no spaces; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object, length: int = 16) -> str:
    """Return a hex SHA-256 prefix of a value's stable JSON."""
    return hashlib.sha256(stable_json(value).encode()).hexdigest()[:length]


def text_id(text: str) -> str:
    """Return the id of a text: 12 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unique(items: Iterable[str]) -> list[str]:
    """Return the items without repeats, in first-seen order."""
    return list(dict.fromkeys(items))

"""Reading pairs of a plain and a professional prompt: our own JSON lines, or BeautifulPrompt's released JSON lists.

Column names of BeautifulPrompt's data: `raw_prompt` and `prompt`, next to scores of which `pick_score` is read
(alibaba/EasyNLP, examples/BeautifulPrompt/beautiful_prompt/data.py).
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import BadInput
from prompt_db.importers import clean_prompt, prompt_fault, read_text

KEYS = (("low", "high"), ("raw_prompt", "prompt"))
"""Names of the plain and the professional side; the first two that an object has count."""


@dataclass(frozen=True)
class PromptPair:
    """Two prompts for the same picture.

    Attributes:
        low: a plain description.
        high: a professional prompt; not necessarily a better one.
        family: style family, "" when the file has none.
        pick_score: PickScore of a picture of `high` against `low`, None when the file has none.
    """

    low: str
    high: str
    family: str = ""
    pick_score: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class PairReport:
    """What a file holds.

    Attributes:
        pairs: distinct pairs, in order.
        duplicates: rows that repeat an earlier pair.
        bad: (row number, reason) of every row that was not taken over.
    """

    pairs: tuple[PromptPair, ...]
    duplicates: int
    bad: tuple[tuple[int, str], ...]


def read_pairs(path: Path) -> PairReport:
    """Read a .jsonl file or a .json list of pairs in UTF-8.

    Both sides are cleaned and checked like imported prompts (`prompt_db.importers`).

    Raises:
        BadInput: the file cannot be read as its suffix says, or has no usable pair.
    """
    path = Path(path)
    if path.suffix.lower() not in (".jsonl", ".json"):
        raise BadInput(f"{path} ends in {path.suffix!r}, expected .jsonl or .json; rename or convert it")
    seen: dict[PromptPair, None] = {}
    duplicates, bad = 0, []
    for number, row in _rows(path):
        pair, wrong = _pair(row)
        if wrong:
            bad.append((number, wrong))
        elif pair in seen:
            duplicates += 1
        else:
            seen[pair] = None
    if not seen:
        first = f", the first: row {bad[0][0]}, {bad[0][1]}" if bad else ""
        raise BadInput(f"{path} has no usable pair ({len(bad)} bad rows{first}); expected at least one, correct it")
    return PairReport(tuple(seen), duplicates, tuple(bad))


def _rows(path: Path) -> list[tuple[int, object]]:
    text = read_text(path)
    if path.suffix.lower() == ".jsonl":
        return [(number, _loads(line)) for number, line in enumerate(text.split("\n"), 1)]
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}; expected a list of objects, correct the file") from None
    if not isinstance(items, list):
        raise BadInput(f"{path} holds a JSON {type(items).__name__}, expected a list of objects; convert it")
    return list(enumerate(items, 1))


def _loads(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _pair(row: object) -> tuple[PromptPair, str]:
    """Return a row's pair and what is wrong with it, "" if nothing."""
    none = PromptPair("", "")
    if not isinstance(row, dict):
        return none, "not an object"
    keys = next((pair for pair in KEYS if set(pair) <= set(row)), None)
    if keys is None:
        return none, "has neither " + " nor ".join(" and ".join(pair) for pair in KEYS)
    sides = []
    for key in keys:
        prompt = clean_prompt(row[key])
        if wrong := prompt_fault(row[key], prompt):
            return none, f"{key}: {wrong}"
        sides.append(prompt)
    family = row.get("family", "")
    pick = row.get("pick_score")
    usable = isinstance(pick, (int, float)) and not isinstance(pick, bool) and math.isfinite(pick)
    return PromptPair(sides[0], sides[1], family if isinstance(family, str) else "", pick if usable else None), ""

"""Prompts that are longer than what the text encoder reads: found in a run's facts, told in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.records import NAIVE
from prompt_db.run_store import RunStore

SHOWN = 60
"""Characters of an unread end that a person is shown."""


@dataclass(frozen=True)
class Unread:
    """What is not read of an arm's prompts.

    Attributes:
        arm: id of the instruction, or `naive`.
        prompts: different prompts of it that were drawn.
        longer: how many of them have an end that no text encoder reads.
        example: the longest such end.
        tokens: how many tokens that is.
    """

    arm: str
    prompts: int
    longer: int
    example: str
    tokens: int

    def sample(self) -> str:
        """Return the example in quotes, shortened, with its tokens."""
        end = self.example if len(self.example) <= SHOWN else self.example[:SHOWN] + "..."
        return f"{end!r} ({self.tokens} token{'' if self.tokens == 1 else 's'})"


def unread_prompts(store: RunStore) -> list[Unread]:
    """Return the arms that have prompts with an unread end, the worst first; none for a run of an earlier version."""
    if not store.has_column("render", "unread_tokens"):
        return []
    rows = store.rows(
        "SELECT arm, count(DISTINCT prompt) AS prompts,"
        " count(DISTINCT CASE WHEN unread != '' THEN prompt END) AS longer,"
        # SQLite: a bare column is of the row with the maximum
        " max(length(unread)) AS most, unread AS example, unread_tokens AS tokens"
        " FROM render GROUP BY arm HAVING longer > 0 ORDER BY 1.0 * longer / prompts DESC, arm"
    )
    return [Unread(*(row[key] for key in ("arm", "prompts", "longer", "example", "tokens"))) for row in rows]


def unread_warnings(found: Sequence[Unread], window: int | None, best: str) -> list[str]:
    """Return a warning for the user's own prompts and one for refined ones, the best instruction's before others'."""
    by_arm: Mapping[str, Unread] = {item.arm: item for item in found}
    refined = [item for item in found if item.arm != NAIVE]
    lines = []
    if NAIVE in by_arm:
        lines.append(_line("your own", by_arm[NAIVE], window))
    if refined:
        first = by_arm.get(best, refined[0])
        more = len(refined) - 1
        also = f"; {more} other instruction{'s have' if more > 1 else ' has'} some too" if more else ""
        lines.append(_line(first.arm, first, window, kind="refined ") + also)
    return lines


def _line(who: str, item: Unread, window: int | None, *, kind: str = "") -> str:
    return (
        f"{who}: {item.longer} of {item.prompts} {kind}prompts {'are' if item.longer > 1 else 'is'} longer than the "
        f"{window} tokens that the text encoder reads; unread e.g. {item.sample()}"
    )

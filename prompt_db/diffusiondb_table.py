"""Reading DiffusionDB's metadata table: prompts of real users without anything about the users.

`metadata.parquet` has 13 columns (poloclub/diffusiondb, README; the data are CC0-1.0). Read are `prompt`, `image_nsfw`
and `prompt_nsfw`. `user_name` and `timestamp` are read only to tell sessions apart (`read_sessions`) and never leave
this module. Needs pyarrow.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.text import one_line
from prompt_db.importers import clean_prompt, prompt_fault

LICENCE = "CC0-1.0"
MOST_NSFW = 0.5
"""Pictures and prompts with a higher likelihood of being unsafe are left out; a picture blurred as unsafe has 2.0."""
SESSION_GAP = 30 * 60
"""Seconds of silence that end a session; the usual choice in log analysis, the paper names none."""
_NOBODY = "deleted_account"
_CONTENT, _PERSON = ("prompt", "image_nsfw", "prompt_nsfw"), ("user_name", "timestamp")


@dataclass(frozen=True)
class TableReport:
    """What a table holds.

    Attributes:
        rows: all of its rows.
        prompts: usable prompts in the order of the table, repeats included.
        dropped: rows that were left out, by reason.
    """

    rows: int
    prompts: tuple[str, ...]
    dropped: Mapping[str, int]


def read_table(path: Path, *, most_nsfw: float = MOST_NSFW) -> TableReport:
    """Read the prompts of a metadata table. No column about a person is read.

    Raises:
        BadInput: no readable table, one without these columns, or pyarrow is not installed.
    """
    prompts: list[str] = []
    rows, dropped = 0, Counter[str]()
    for row in _rows(path, _CONTENT):
        rows += 1
        prompt, fault = _usable(row, most_nsfw)
        if fault:
            dropped[fault] += 1
        else:
            prompts.append(prompt)
    return TableReport(rows, tuple(prompts), dict(dropped))


def read_sessions(path: Path, *, most_nsfw: float = MOST_NSFW, gap: int = SESSION_GAP) -> list[tuple[str, ...]]:
    """Return the prompts of each session in the order of their times, equal neighbours once.

    A session is what one account did without a pause of more than `gap` seconds. Rows without account or time, and
    those of deleted accounts, which cannot be told apart, belong to none. Neither names nor times are returned.

    Raises:
        BadInput: as `read_table`.
    """
    by_person: dict[str, list[tuple[int, int, str]]] = {}
    for place, row in enumerate(_rows(path, (*_CONTENT, *_PERSON))):
        prompt, fault = _usable(row, most_nsfw)
        person, when = row["user_name"], row["timestamp"]
        if not fault and person not in (None, _NOBODY) and when is not None:
            by_person.setdefault(person, []).append((when, place, prompt))
    return [session for told in by_person.values() for session in _sessions(sorted(told), gap)]


def _sessions(told: Sequence[tuple[int, int, str]], gap: int) -> Iterator[tuple[str, ...]]:
    session: list[str] = []
    last = told[0][0]
    for when, _, prompt in told:
        if when - last > gap:
            yield tuple(session)
            session = []
        if not session or session[-1] != prompt:
            session.append(prompt)
        last = when
    yield tuple(session)


def _usable(row: Mapping[str, Any], most_nsfw: float) -> tuple[str, str]:
    """Return a row's prompt and why it cannot be used, "" if it can."""
    prompt = clean_prompt(row["prompt"])
    if fault := prompt_fault(row["prompt"], prompt):
        return prompt, "too long" if "characters, at most" in fault else fault
    scores = (row["image_nsfw"], row["prompt_nsfw"])
    if any(score is None or score != score for score in scores):
        return prompt, "no NSFW score"
    return prompt, "NSFW" if max(scores) > most_nsfw else ""


def _rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of some columns; a timestamp comes as whole seconds."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BadInput(
            f"{path}: got a Parquet file, but pyarrow is not installed; pip install 'brushup[data]'"
        ) from error
    if not Path(path).is_file():
        raise BadInput(f"no file at {path}, expected DiffusionDB's metadata.parquet; check the path")
    try:
        table = parquet.ParquetFile(path)
        if missing := set(columns) - set(table.schema_arrow.names):
            raise BadInput(
                f"{path}: got no columns {', '.join(sorted(missing))}, expected DiffusionDB's metadata.parquet"
            )
        for batch in table.iter_batches(columns=list(columns)):
            if "timestamp" in columns:
                place = batch.schema.get_field_index("timestamp")
                seconds = batch.column(place).cast(pyarrow.timestamp("s", batch.column(place).type.tz), safe=False)
                batch = batch.set_column(place, "timestamp", seconds.cast(pyarrow.int64()))
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError, AttributeError) as error:
        raise BadInput(
            f"{path}: got {one_line(error)!r}, expected DiffusionDB's metadata.parquet; copy it anew"
        ) from error

"""Reading prompts from the files that people have: plain lists, tables, JSON; nothing in them is ever executed.

Known by name: PartiPrompts.tsv (google-research/parti), HPSv2's benchmark lists (bare JSON lists of strings),
A1111 styles.csv and SDXL style lists (`{prompt}` marks where the user's words go, and is dropped).
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput

MAX_CHARACTERS = 2000
"""Longest prompt that is taken over."""
MAX_BYTES = 512 * 1024 * 1024
COLUMNS = ("prompt", "naive_prompt", "positive_prompt", "text", "caption", "positive", "prompts")
"""Column names recognised without `--column`, whatever their case, the first of these first."""

Row = tuple[int, object, str]
"""Row number (line of a text or JSONL file, spreadsheet row of a table, place in a JSON list), cell, what is wrong."""


@dataclass(frozen=True)
class ReadReport:
    """What a file holds.

    Attributes:
        prompts: distinct prompts, in order.
        duplicates: rows that repeat an earlier prompt of the file.
        bad: (row number, reason) of every row that was not taken over.
    """

    prompts: tuple[str, ...]
    duplicates: int
    bad: tuple[tuple[int, str], ...]

    @property
    def rows(self) -> int:
        """All rows of the file, headers apart."""
        return len(self.prompts) + self.duplicates + len(self.bad)


def read_prompts(path: Path, column: str | None = None) -> ReadReport:
    """Read a .txt, .csv, .tsv, .jsonl or .json file of prompts in UTF-8.

    Prompts are stripped and line breaks inside them become spaces; nothing else is changed. Empty rows, rows of more
    than MAX_CHARACTERS, and rows with control characters are reported as bad and left out.

    Args:
        path: the file.
        column: the column (or JSON key) with the prompts; by default one of COLUMNS.

    Raises:
        BadInput: the file cannot be read as its suffix says, has no such column, or no usable prompt.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    text = read_text(path)
    if reader is None:
        raise BadInput(f"{path} ends in {path.suffix!r}, expected one of {', '.join(READERS)}; rename or convert it")
    seen: dict[str, None] = {}
    duplicates, bad = 0, []
    for number, cell, wrong in reader(text, path, column):
        prompt = "" if wrong else clean_prompt(cell)
        wrong = wrong or prompt_fault(cell, prompt)
        if wrong:
            bad.append((number, wrong))
        elif prompt in seen:
            duplicates += 1
        else:
            seen[prompt] = None
    if not seen:
        first = f", the first: row {bad[0][0]}, {bad[0][1]}" if bad else ""
        raise BadInput(
            f"{path} has no usable prompt ({len(bad)} bad rows{first}); expected at least one, correct the file"
        )
    return ReadReport(tuple(seen), duplicates, tuple(bad))


def read_text(path: Path) -> str:
    """Return a file's text without byte order mark, lines ending in LF.

    Raises:
        BadInput: no such file, or one that is empty, too large or not text in UTF-8.
    """
    try:
        if path.is_dir():
            raise BadInput(f"{path} is a folder, expected a file of prompts; name the file")
        if not path.is_file():
            raise BadInput(f"no file at {path}, expected a file of prompts; check the path")
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"{path} has over {MAX_BYTES >> 20} MiB, expected a file of prompts; split it")
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"cannot read {path}: {error.strerror}; expected a readable file, check path and rights"
        ) from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{path} is in UTF-16, expected UTF-8; save it as UTF-8")
    if b"\0" in raw:
        raise BadInput(f"{path} is a binary file, expected text in UTF-8; convert it to one prompt a line")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte {error.start}), expected text in UTF-8; save it as UTF-8") from None
    if not text.strip():
        raise BadInput(f"{path} is empty, expected at least one prompt; add one prompt a line")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def clean_prompt(cell: object) -> str:
    """Return a cell's text stripped, line breaks turned into spaces and `{prompt}` dropped; "" if it is no text."""
    if not isinstance(cell, str):
        return ""
    prompt = re.sub(r"\s*[\t\r\n]\s*", " ", cell).strip()
    if "{prompt}" in prompt:
        pieces = (re.sub(r"\s+", " ", piece).strip() for piece in prompt.replace("{prompt}", " ").split(","))
        prompt = ", ".join(piece for piece in pieces if piece)
    return prompt


def prompt_fault(cell: object, prompt: str) -> str:
    """Say what is wrong with a cell and the prompt cleaned from it, "" if nothing."""
    if not isinstance(cell, str):
        return "no prompt" if cell is None else f"a {type(cell).__name__}, not a text"
    if not prompt:
        return "empty"
    if len(prompt) > MAX_CHARACTERS:
        return f"{len(prompt)} characters, at most {MAX_CHARACTERS} are taken"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in prompt):
        return "has control characters"
    return ""


def _lines(text: str, path: Path, column: str | None) -> Iterator[Row]:
    if column:
        raise BadInput(f"{path} has lines, not columns, expected no --column; leave it out")
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line, ""


def _table(text: str, path: Path, column: str | None) -> Iterator[Row]:
    """Yield the cells of one column of a CSV or TSV file whose first row names the columns."""
    rows = _tab_rows(text) if path.suffix.lower() == ".tsv" else _comma_rows(text, path)
    header = [name.strip() for name in rows[0]]
    place = header.index(_column(header, path, column))
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(header):
            yield number, None, f"{len(row)} cells, the header has {len(header)}; put quotes around texts with commas"
        else:
            yield number, row[place] if place < len(row) else None, "" if row else "empty"


def _comma_rows(text: str, path: Path) -> list[list[str]]:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # spreadsheets in some countries write semicolons
    old = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise BadInput(
            f"{path} is not CSV at line {reader.line_num}: {error}; expected quotes in pairs, correct it"
        ) from None
    finally:
        csv.field_size_limit(old)


def _tab_rows(text: str) -> list[list[str]]:
    """Split a TSV file, in which quotes are literal (PartiPrompts) unless they enclose a cell as in CSV."""
    literal = [line.split("\t") for line in text.split("\n")]
    if any(len(row) != len(literal[0]) for row in literal):
        try:
            quoted = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
        except csv.Error:
            quoted = []
        if quoted and all(len(row) == len(quoted[0]) for row in quoted):
            return quoted
    return [[_unquoted(cell) for cell in row] for row in literal]


def _unquoted(cell: str) -> str:
    """Undo CSV quoting of a cell that is wholly quoted, its own quotes doubled; leave any other as it is."""
    inner = cell[1:-1]
    if len(cell) < 2 or not cell.startswith('"') or not cell.endswith('"') or '"' in inner.replace('""', ""):
        return cell
    return inner.replace('""', '"')


def _json_list(text: str, path: Path, column: str | None) -> Iterator[Row]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not JSON: {error}; expected a list of texts or of objects, correct the file"
        ) from None
    if not isinstance(items, list):
        raise BadInput(
            f"{path} holds a JSON {type(items).__name__}, expected a list of texts or of objects; convert it"
        )
    yield from _items([(number, item, "") for number, item in enumerate(items, 1)], path, column)


def _json_lines(text: str, path: Path, column: str | None) -> Iterator[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows.append((number, json.loads(line), "") if line.strip() else (number, None, "empty"))
        except (ValueError, RecursionError):
            rows.append((number, None, "not JSON"))
    yield from _items(rows, path, column)


def _items(rows: list[Row], path: Path, column: str | None) -> Iterator[Row]:
    """Yield the texts of a list of texts, or of one key of a list of objects."""
    keys = list(dict.fromkeys(key for _, item, _ in rows if isinstance(item, dict) for key in item))
    name = _column(keys, path, column) if keys else ""
    if column and not keys:
        raise BadInput(f"{path} has texts, not objects with keys, expected no --column; leave it out")
    for number, item, wrong in rows:
        yield number, item.get(name) if isinstance(item, dict) else item, wrong


def _column(names: list[str], path: Path, column: str | None) -> str:
    """Return the name of the column with the prompts."""
    for wanted in (column,) if column else COLUMNS:
        for same in (str, str.lower):
            found = [name for name in names if same(name) == same(wanted)]
            if found:
                return found[0]
    known = ", ".join(name[:40] for name in names[:12])
    wanted = f"a column {column!r}" if column else f"one named {', '.join(COLUMNS[:5])} or the like"
    raise BadInput(
        f"{path} has the columns {known or '(none)'}, expected {wanted}; name the one with the prompts by --column"
    )


READERS: dict[str, Callable[[str, Path, str | None], Iterator[Row]]] = {
    ".txt": _lines,
    ".csv": _table,
    ".tsv": _table,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_list,
}
"""Readers by suffix. Each yields rows and raises BadInput for what concerns the whole file."""

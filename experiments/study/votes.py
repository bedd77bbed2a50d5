"""Reading what annotators said, and the key to it. Both files are untrusted: they were in other people's hands."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import BadInput
from experiments.study.sheet import COLUMNS, KEY_FORMAT, key_name

PREFERENCES = ("left", "right", "tie")
LARGEST_FILE = 16 * 1024**2
_STUDY = re.compile(r"[0-9a-f]{12}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class KeyPair(_Strict):
    """What one pair was: the arms on its sides, and their scores by scorer."""

    prompt_id: str
    left: str
    right: str
    scores: Mapping[str, Mapping[str, float]]


class Key(_Strict):
    """What a study was about."""

    format: Literal["brushup-study-key/1"]
    study: str
    run: str
    best: str
    rival: str
    pairs: Mapping[str, KeyPair]


@dataclass(frozen=True)
class Vote:
    """What one annotator said of one pair; None where nothing was said. Relevance: 0 no, 1 partly, 2 fully."""

    annotator: str
    pair: str
    preference: str | None
    left: int | None
    right: int | None


def read_key(path: Path) -> Key:
    """Read a study's key.

    Raises:
        BadInput: missing, damaged, or something else.
    """
    try:
        return Key.model_validate_json(_text(path, "--key"))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "top"
        raise BadInput(
            f"--key {path} is not the key of a study ({first['type']} at {where}); expected the .key.json file that "
            f"`brushup study export` wrote ({KEY_FORMAT})"
        ) from None


def find_key(home: Path, votes: Path) -> Path:
    """Return the key of the study that votes are of, from the folders of the runs under a home.

    Raises:
        BadInput: the votes cannot be read, or no run there has their study's key.
    """
    study = next((row["study"] for row in _rows(votes) if row["study"]), "")
    found = sorted(home.glob(f"*/{key_name(study)}")) if _STUDY.fullmatch(study) else []
    if not found:
        raise BadInput(f"no run in {home} has the key of study {study[:40]!r} of {votes}; name its file with --key")
    return found[0]


def read_votes(paths: Sequence[Path], key: Key) -> list[Vote]:
    """Read files of votes; of what one annotator said of one pair the last counts, and unanswered pairs are left out.

    Raises:
        BadInput: a file cannot be read, is of another study, or a row is wrong.
    """
    votes: dict[tuple[str, str], Vote] = {}
    for path in paths:
        for number, row in enumerate(_rows(path), start=2):
            vote = _vote(row, key, f"{path}, row {number}")
            if vote.preference or vote.left is not None or vote.right is not None:
                votes[vote.annotator, vote.pair] = vote
    if not votes:
        raise BadInput(f"got no answer in {', '.join(map(str, paths))}; expected left, right or tie under `preference`")
    return list(votes.values())


def _rows(path: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(_text(path, "votes"), newline=""))
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        rows = [{name: (row.get(name) or "").strip() for name in COLUMNS} for row in reader]
    except csv.Error as error:
        raise BadInput(f"{path} is not CSV: {error}; save it as comma-separated values") from None
    missing = [name for name in COLUMNS if name not in names and name != "prompt"]
    if missing:
        raise BadInput(f"{path} lacks the columns {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    return rows


def _vote(row: Mapping[str, str], key: Key, where: str) -> Vote:
    if row["study"] != key.study:
        raise BadInput(f"{where}: study is {row['study']!r}, the key is of {key.study!r}; give that study's --key")
    if row["pair"] not in key.pairs:
        raise BadInput(f"{where}: pair is {row['pair']!r}; the study has {', '.join(list(key.pairs)[:3])}, ...")
    preference = row["preference"].lower()
    if preference and preference not in PREFERENCES:
        raise BadInput(f"{where}: preference is {preference!r}; expected {', '.join(PREFERENCES)} or nothing")
    left, right = (_grade(row[f"relevance_{side}"], where) for side in ("left", "right"))
    annotator = row["annotator"] or Path(where.rpartition(", row")[0]).stem
    return Vote(annotator, row["pair"], preference or None, left, right)


def _grade(text: str, where: str) -> int | None:
    if text not in {"", "0", "1", "2"}:
        raise BadInput(f"{where}: relevance is {text!r}; expected 0, 1, 2 or nothing")
    return int(text) if text else None


def _text(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadInput(f"{what} {path}: got more than {LARGEST_FILE} bytes")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BadInput(f"cannot read {what} {path}: {reason}") from None

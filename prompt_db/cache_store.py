"""`HOME/cache/cache.db`: replies and scores, content-addressed, shared by all runs under one home.

Pictures lie beside it as files. A row is a pure function of its key, so concurrent writers may both insert it.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sqlite_utils import Database

from core.records import Completion
from prompt_db.schema import open_readonly, open_writable


def _create_tables(database: Database) -> None:
    database.table("reply").create({"key": str, "completion": str}, pk="key", strict=True)
    database.table("score").create({"key": str, "value": float}, pk="key", strict=True)


CACHE_MIGRATIONS = (_create_tables,)


class CacheStore:
    """Finished LLM replies and scores by content key."""

    def __init__(self, path: Path) -> None:
        self._db = open_writable(path, CACHE_MIGRATIONS)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def reply(self, key: str) -> Completion | None:
        """Return a cached reply, marked as cached, or None."""
        with self._lock:
            row = self._db.execute("SELECT completion FROM reply WHERE key = ?", [key]).fetchone()
        return Completion(**{**json.loads(row[0]), "cached": True}) if row else None

    def put_reply(self, key: str, completion: Completion) -> None:
        """Store a reply; the first one stays."""
        with self._lock:
            self._db.execute(
                "INSERT OR IGNORE INTO reply (key, completion) VALUES (?, ?)", [key, json.dumps(asdict(completion))]
            )

    def scores(self, keys: Sequence[str]) -> dict[str, float]:
        """Return the cached scores among these keys."""
        with self._lock:
            marks = ", ".join("?" * len(keys))
            found = self._db.execute(f"SELECT key, value FROM score WHERE key IN ({marks})", list(keys)).fetchall()
        return {row[0]: float(row[1]) for row in found}

    def put_scores(self, values: Mapping[str, float]) -> None:
        """Store scores; the first value of a key stays."""
        with self._lock, self._db.atomic():
            for key, value in values.items():
                self._db.execute("INSERT OR IGNORE INTO score (key, value) VALUES (?, ?)", [key, value])


def cached_counts(path: Path) -> tuple[int, int]:
    """Return how many scores and replies a cache's database holds, without writing to it; (0, 0) when there is none.

    Raises:
        BadInput: damaged, or of a newer schema.
    """
    if not path.is_file():
        return 0, 0
    database = open_readonly(path, CACHE_MIGRATIONS)
    try:
        there = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        counts = [
            int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) if table in there else 0
            for table in ("score", "reply")
        ]
    finally:
        database.close()
    return counts[0], counts[1]

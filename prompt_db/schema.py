"""Opening SQLite files: WAL, numbered migrations applied in one transaction each, newer schemas refused."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlite_utils import Database

from core.errors import BadInput

Migration = Callable[[Database], None]
BUSY_SECONDS = 30.0
"""How long a connection waits for another one's lock."""


def open_writable(path: Path, migrations: Sequence[Migration]) -> Database:
    """Open (or create) a database for its one writer and bring its schema up to date.

    The connection may be used from other threads of this process, one at a time.

    Raises:
        BadInput: the file is not a database, cannot be written, or was written by a newer version of brushup.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
        database = Database(connection)
        _use_wal(database)
        database.execute("PRAGMA synchronous=NORMAL")
        _migrate(database, path, migrations)
    except (sqlite3.DatabaseError, OSError) as error:
        raise BadInput(f"cannot open {path} for writing: {error}; check the disk, or choose another --home") from None
    return database


def open_readonly(path: Path, migrations: Sequence[Migration]) -> Database:
    """Open an existing database for reading only.

    Raises:
        BadInput: the file is missing, not a database, or has a newer schema.
    """
    if not path.is_file():
        raise BadInput(f"no database at {path}; check --home and the name")
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )
        database = Database(connection)
        _refuse_newer(schema_version(database), path, migrations)
    except sqlite3.DatabaseError as error:
        raise BadInput(f"cannot read {path}: {error}; it is not a brushup database, or it is damaged") from None
    return database


def _use_wal(database: Database) -> None:
    """Switch to the write-ahead log; SQLite does not wait for other openers here, whatever the timeout, so we do."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def schema_version(database: Database) -> int:
    """Return the number of migrations the file has seen."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(version: int, path: Path, migrations: Sequence[Migration]) -> None:
    if version > len(migrations):
        raise BadInput(
            f"{path} has schema {version}, this brushup knows up to {len(migrations)}; "
            "upgrade brushup or use another --home"
        )


def _migrate(database: Database, path: Path, migrations: Sequence[Migration]) -> None:
    _refuse_newer(schema_version(database), path, migrations)
    if schema_version(database) == len(migrations):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        for number, migration in enumerate(migrations[schema_version(database) :], start=schema_version(database) + 1):
            migration(database)
            database.execute(f"PRAGMA user_version={number}")
        database.conn.commit()
    except BaseException:
        database.conn.rollback()
        raise

import sqlite3
import threading

import pytest

from core.errors import BadInput
from prompt_db.schema import open_readonly, open_writable, schema_version


def first(database):
    database.execute("CREATE TABLE a (x INTEGER) STRICT")


def second(database):
    database.execute("CREATE TABLE b (y TEXT) STRICT")


def broken(database):
    database.execute("CREATE TABLE c (z TEXT) STRICT")
    raise RuntimeError("stop")


def tables(path):
    connection = sqlite3.connect(path)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_creates_folders_and_migrates_step_by_step(tmp_path):
    path = tmp_path / "new" / "x.db"
    database = open_writable(path, [first])
    assert schema_version(database) == 1
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    database.close()
    database = open_writable(path, [first, second])
    assert schema_version(database) == 2
    database.close()
    assert tables(path) == {"a", "b"}


def test_a_broken_migration_leaves_the_old_schema(tmp_path):
    path = tmp_path / "x.db"
    open_writable(path, [first]).close()
    with pytest.raises(RuntimeError, match="stop"):
        open_writable(path, [first, second, broken])
    assert tables(path) == {"a"}
    database = open_writable(path, [first, second])
    assert schema_version(database) == 2
    database.close()


@pytest.mark.parametrize("opener", [open_writable, open_readonly])
def test_a_newer_schema_is_refused(tmp_path, opener):
    path = tmp_path / "x.db"
    open_writable(path, [first, second]).close()
    with pytest.raises(BadInput, match="schema 2, this brushup knows up to 1; upgrade"):
        opener(path, [first])


def test_readonly(tmp_path):
    path = tmp_path / "x.db"
    with pytest.raises(BadInput, match="no database at"):
        open_readonly(path, [first])
    open_writable(path, [first]).close()
    database = open_readonly(path, [first])
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.execute("INSERT INTO a VALUES (1)")
    database.close()


@pytest.mark.parametrize("opener", [open_writable, open_readonly])
def test_a_file_that_is_no_database(tmp_path, opener):
    path = tmp_path / "x.db"
    path.write_bytes(b"some other file, quite long enough" * 50)
    with pytest.raises(BadInput, match="cannot"):
        opener(path, [first])


def test_two_openers_at_once_migrate_once(tmp_path):
    path, errors = tmp_path / "x.db", []
    start = threading.Barrier(4)

    def work():
        try:
            start.wait()
            open_writable(path, [first, second]).close()
        except Exception as error:  # noqa: BLE001 - reported by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert tables(path) == {"a", "b"}

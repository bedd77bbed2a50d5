"""The library of professional prompts, `HOME/prompts.db`: corpora, full-text search, exemplars, frequent phrases."""

import hashlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from core.errors import BadInput
from core.text import content_words, phrases, unique, words
from prompt_db.importers import ReadReport, read_prompts
from prompt_db.schema import Migration, open_readonly, open_writable

MAX_EXEMPLAR = 400
"""Longest exemplar, in characters: longer prompts are mostly lists of names, and cost tokens."""


def _first_schema(database: Database) -> None:
    for statement in (
        "CREATE TABLE corpus (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,"
        " source TEXT NOT NULL, rows INTEGER NOT NULL, imported_at TEXT NOT NULL) STRICT",
        "CREATE TABLE entry (id INTEGER PRIMARY KEY, corpus_id INTEGER NOT NULL REFERENCES corpus(id),"
        " text TEXT NOT NULL, UNIQUE (corpus_id, text)) STRICT",
        "CREATE VIRTUAL TABLE entry_fts USING fts5(text, content=entry, content_rowid=id, tokenize=porter)",
        "CREATE TRIGGER entry_ai AFTER INSERT ON entry BEGIN"
        " INSERT INTO entry_fts (rowid, text) VALUES (new.id, new.text); END",
        "CREATE TRIGGER entry_ad AFTER DELETE ON entry BEGIN"
        " INSERT INTO entry_fts (entry_fts, rowid, text) VALUES ('delete', old.id, old.text); END",
        "CREATE TRIGGER entry_au AFTER UPDATE ON entry BEGIN"
        " INSERT INTO entry_fts (entry_fts, rowid, text) VALUES ('delete', old.id, old.text);"
        " INSERT INTO entry_fts (rowid, text) VALUES (new.id, new.text); END",
    ):
        database.execute(statement)


MIGRATIONS: tuple[Migration, ...] = (_first_schema,)


@dataclass(frozen=True)
class ImportReport:
    """What an import did: `rows` read = `added` + `duplicates` (of the file or the corpus) + len(`bad`).

    `digest` is that of the whole corpus after the import; `bad` holds (row number, reason).
    """

    name: str
    rows: int
    added: int
    duplicates: int
    bad: tuple[tuple[int, str], ...]
    digest: str


@dataclass(frozen=True)
class CorpusStats:
    """A corpus: its name, content digest, source file's name, number of prompts, time of its last change (UTC)."""

    name: str
    digest: str
    source: str
    rows: int
    imported_at: str


@dataclass(frozen=True)
class Hit:
    """A prompt found by `Library.search`, and its corpus."""

    corpus: str
    text: str


class Library:
    """Corpora of professional prompts in one SQLite file.

    Only `import_file` opens the file for writing (and creates it). Answers depend on the corpus named and on no
    other, so importing one never changes a run that uses another. May be shared between threads.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Name the file, which need not exist yet; `clock` dates imports."""
        self.path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._index: tuple[str, sqlite3.Connection] | None = None

    def close(self) -> None:
        """Free the exemplar index; the library can still be used."""
        with self._lock:
            if self._index is not None:
                self._index[1].close()
                self._index = None

    def import_file(self, path: Path, *, column: str | None = None, name: str | None = None) -> ImportReport:
        """Add a file's prompts to a corpus (by default named like the file), all of them or, on any error, none.

        Raises:
            BadInput: see `read_prompts`; an impossible name; or the library cannot be written.
        """
        name = Path(path).stem if name is None else name
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise BadInput(f"the corpus name is {name!r}, expected 1 to 100 printable characters; give another --name")
        read = read_prompts(Path(path), column)
        database = open_writable(self.path, MIGRATIONS)
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                report = self._store(database, name, Path(path).name, read)
                database.conn.commit()
            except BaseException:
                database.conn.rollback()
                raise
        except sqlite3.DatabaseError as error:
            raise BadInput(f"cannot import into {self.path}: {error}; nothing was imported, check the disk") from None
        finally:
            database.close()
        return report

    def _store(self, database: Database, name: str, source: str, read: ReadReport) -> ImportReport:
        now = self._clock().isoformat(timespec="seconds")
        database.execute(
            "INSERT INTO corpus (name, digest, source, rows, imported_at) VALUES (?, '', ?, 0, ?)"
            " ON CONFLICT (name) DO NOTHING",
            [name, source, now],
        )
        corpus, before = database.execute("SELECT id, rows FROM corpus WHERE name = ?", [name]).fetchone()
        database.conn.executemany(
            "INSERT INTO entry (corpus_id, text) VALUES (?, ?) ON CONFLICT (corpus_id, text) DO NOTHING",
            ((corpus, prompt) for prompt in read.prompts),
        )
        (rows,) = database.execute("SELECT count(*) FROM entry WHERE corpus_id = ?", [corpus]).fetchone()
        digest = _digest(_texts(database, corpus))
        added = rows - before
        if added:
            database.execute(
                "UPDATE corpus SET digest = ?, rows = ?, source = ?, imported_at = ? WHERE id = ?",
                [digest, rows, source, now, corpus],
            )
        return ImportReport(name, read.rows, added, read.duplicates + len(read.prompts) - added, read.bad, digest)

    def copy_to(self, path: Path) -> None:
        """Write a copy of the library to a new file.

        Raises:
            BadInput: there is no library, it is damaged, or the file exists.
        """
        with self._reading() as database:
            database.execute("VACUUM INTO ?", [str(path)])

    def has(self, name: str) -> bool:
        """Say whether there is a corpus of this name; False while there is no library.

        Raises:
            BadInput: the library is damaged or of a newer schema.
        """
        return any(corpus.name == name for corpus in self.stats())

    def stats(self) -> list[CorpusStats]:
        """Return all corpora by name; none while there is no library.

        Raises:
            BadInput: the library is damaged or of a newer schema.
        """
        if not self.path.exists():
            return []
        with self._reading() as database:
            found = database.execute("SELECT name, digest, source, rows, imported_at FROM corpus ORDER BY name")
            return [CorpusStats(*row) for row in found]

    def digest(self, corpus: str) -> str:
        """Return 16 hex digits that are a function of a corpus's prompts and their order.

        Raises:
            BadInput: no such corpus.
        """
        with self._reading() as database:
            return self._corpus(database, corpus)[1]

    def texts(self, corpus: str) -> list[str]:
        """Return a corpus's prompts in their order.

        Raises:
            BadInput: no such corpus.
        """
        with self._reading() as database:
            return list(_texts(database, self._corpus(database, corpus)[0]))

    def search(self, query: str, limit: int = 20) -> list[Hit]:
        """Return prompts that hold all words of a query (in any inflection), best match (bm25) first.

        Raises:
            BadInput: no library, no word in the query, or limit < 1.
        """
        terms = words(query)
        if not terms or limit < 1:
            raise BadInput(f"the query is {query[:60]!r}, the limit {limit}; expected at least one word and one row")
        with self._reading() as database:
            found = database.execute(
                "SELECT corpus.name, entry.text FROM entry_fts JOIN entry ON entry.id = entry_fts.rowid"
                " JOIN corpus ON corpus.id = entry.corpus_id WHERE entry_fts MATCH ?"
                " ORDER BY bm25(entry_fts), entry.id LIMIT ?",
                [_match(terms, " "), limit],
            )
            return [Hit(*row) for row in found]

    def exemplars(self, naive_prompts: Sequence[str], k: int, *, corpus: str) -> list[str]:
        """Return up to `k` prompts of a corpus that are most like the naive ones, best match (bm25) first.

        Any content word counts. Prompts over MAX_EXEMPLAR characters are left out, as are those that differ from a
        better match in case and punctuation alone; ties go to the earlier prompt. Word frequencies are those of this
        corpus alone. The first call builds an index in memory (20 ms for 2,000 prompts).

        Raises:
            BadInput: no such corpus.
        """
        terms = unique(word for prompt in naive_prompts for word in content_words(prompt))
        with self._lock:
            index = self._exemplar_index(corpus)
            if not terms or k < 1:
                return []
            found = index.execute(
                "SELECT text FROM exemplar WHERE exemplar MATCH ? ORDER BY bm25(exemplar), rowid",
                [_match(terms, " OR ")],
            )
            distinct: dict[tuple[str, ...], str] = {}
            for (text,) in found:
                distinct.setdefault(tuple(words(text)), text)
                if len(distinct) == k:
                    break
            found.close()
            return list(distinct.values())

    def frequent_phrases(self, n: int, corpus: str) -> list[str]:
        """Return the `n` phrases that most prompts of a corpus have after their first one, in lower case.

        Phrases lie between commas, the first being the subject. Each counts once a prompt; ties are alphabetical.

        Raises:
            BadInput: no such corpus.
        """
        counts: Counter[str] = Counter()
        with self._reading() as database:
            for text in _texts(database, self._corpus(database, corpus)[0]):
                counts.update({" ".join(phrase.lower().split()) for phrase in phrases(text)[1:]})
        return sorted(counts, key=lambda phrase: (-counts[phrase], phrase))[: max(0, n)]

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        database = open_readonly(self.path, MIGRATIONS)
        try:
            yield database
        except sqlite3.DatabaseError as error:
            raise BadInput(f"cannot read {self.path}: {error}; expected a library, restore it or delete it") from None
        finally:
            database.close()

    def _corpus(self, database: Database, name: str) -> tuple[int, str]:
        found = database.execute("SELECT id, digest FROM corpus WHERE name = ?", [name]).fetchone()
        if found is None:
            known = ", ".join(row[0] for row in database.execute("SELECT name FROM corpus ORDER BY name LIMIT 12"))
            raise BadInput(
                f"no corpus {name!r}, expected one of: {known or '(none)'}; import it with `brushup prompts import`"
            )
        return int(found[0]), str(found[1])

    def _exemplar_index(self, corpus: str) -> sqlite3.Connection:
        """Return the full-text index of a corpus's exemplars, built once per corpus and content."""
        with self._reading() as database:
            corpus_id, digest = self._corpus(database, corpus)
            if self._index is not None and self._index[0] == digest:
                return self._index[1]
            index = sqlite3.connect(":memory:", check_same_thread=False)
            index.execute("CREATE VIRTUAL TABLE exemplar USING fts5(text, tokenize=porter)")
            short = ((text,) for text in _texts(database, corpus_id) if len(text) <= MAX_EXEMPLAR)
            index.executemany("INSERT INTO exemplar (text) VALUES (?)", short)
        if self._index is not None:
            self._index[1].close()
        self._index = (digest, index)
        return index


def _texts(database: Database, corpus: int) -> Iterator[str]:
    found = database.execute("SELECT text FROM entry WHERE corpus_id = ? ORDER BY id", [corpus])
    return (str(row[0]) for row in found)


def _digest(texts: Iterator[str]) -> str:
    state = hashlib.sha256()
    for text in texts:
        state.update(text.encode() + b"\0")  # no prompt holds a NUL
    return state.hexdigest()[:16]


def _match(terms: Sequence[str], joint: str) -> str:
    """Return an FTS5 query of quoted words, in which nothing is an operator."""
    return joint.join('"' + term.replace('"', '""') + '"' for term in terms)

import json
import os
import sqlite3
import threading
from datetime import UTC, datetime

import pytest

from core.errors import BadInput
from prompt_db import library as module
from prompt_db.library import CorpusStats, Hit, Library
from tests.prompt_db.test_importers import partiprompts

NOW = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "home" / "prompts.db", clock=lambda: NOW)


@pytest.fixture
def corpus(tmp_path, library):
    """Return a function that imports texts as a corpus."""

    def make(*texts: str, name: str = "pros"):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(texts))
        return library.import_file(path)

    return make


def test_partiprompts_shaped_import_and_import_again(tmp_path, library):
    path = tmp_path / "PartiPrompts.tsv"
    path.write_text(partiprompts())
    first = library.import_file(path)
    assert (first.name, first.rows, first.added, first.duplicates, first.bad) == ("PartiPrompts", 1632, 1628, 4, ())
    assert library.stats() == [
        CorpusStats("PartiPrompts", first.digest, "PartiPrompts.tsv", 1628, "2031-02-03T04:05:06+00:00")
    ]
    again = library.import_file(path)
    assert (again.rows, again.added, again.duplicates, again.digest) == (1632, 0, 1632, first.digest)
    assert library.search('"G I G G L E"') == [Hit("PartiPrompts", '"G I G G L E" painted on a wall')]


def test_a_corpus_grows_and_its_digest_follows(corpus, library):
    one = corpus("a cat, 4k", "a cat, 4k", "")
    assert (one.rows, one.added, one.duplicates, one.bad) == (3, 1, 1, ((3, "empty"),))
    two = corpus("a cat, 4k", "a dog, 8k")
    assert (two.added, two.duplicates) == (1, 1)
    assert one.digest != two.digest == library.digest("pros")
    assert corpus("a cat, 4k", "a dog, 8k", name="other").digest == two.digest
    assert corpus("a dog, 8k", "a cat, 4k", name="turned").digest != two.digest


def test_names(tmp_path, library, corpus):
    path = tmp_path / "p.txt"
    path.write_text("a cat")
    assert library.import_file(path, name="my corpus").name == "my corpus"
    assert library.has("my corpus")
    assert not library.has("p")
    for name in ("", "  ", "x\ny", "x" * 101):
        with pytest.raises(BadInput, match="corpus name is"):
            library.import_file(path, name=name)


def test_tables_are_strict_and_the_index_follows_changes(corpus, library):
    corpus("a cat", "a dog")
    database = sqlite3.connect(library.path)
    kinds = dict(database.execute("SELECT name, strict FROM pragma_table_list WHERE name IN ('corpus', 'entry')"))
    assert kinds == {"corpus": 1, "entry": 1}
    with database:
        database.execute("UPDATE entry SET text = 'a bird' WHERE text = 'a cat'")
        database.execute("DELETE FROM entry WHERE text = 'a dog'")
    database.execute("INSERT INTO entry_fts (entry_fts) VALUES ('integrity-check')")
    database.close()
    assert library.search("bird") == [Hit("pros", "a bird")]
    assert library.search("cat") == library.search("dog") == []


def test_search_takes_any_text_literally(corpus, library):
    corpus("a cat running", "cats run at night", "a dog", "it's 50% NEAR(me)")
    assert [hit.text for hit in library.search("cat run")] == ["a cat running", "cats run at night"]
    assert len(library.search("cat", limit=1)) == 1
    assert library.search("cat OR dog") == []
    assert library.search('NEAR( "me" * ^ : -') == [Hit("pros", "it's 50% NEAR(me)")]
    for query, limit in (("", 3), ("*()\"'", 3), ("cat", 0)):
        with pytest.raises(BadInput, match="expected at least one word"):
            library.search(query, limit)


def test_exemplars_rank_by_shared_content_words(corpus, library):
    corpus(
        "a castle, oil",
        "a red cat, sharp focus",
        "a cat, vivid",
        "the dog on the mat",
        "A Cat; vivid!",
        "cat " + "x" * 400,
    )
    assert library.exemplars(["a red cat"], 5, corpus="pros") == ["a red cat, sharp focus", "a cat, vivid"]
    assert set(library.exemplars(["cats", "dogs"], 9, corpus="pros")) == {
        "a red cat, sharp focus",
        "a cat, vivid",
        "the dog on the mat",
    }
    assert library.exemplars(["a red cat"], 1, corpus="pros") == ["a red cat, sharp focus"]
    assert library.exemplars(["on the", '"*('], 3, corpus="pros") == []
    assert library.exemplars([], 3, corpus="pros") == library.exemplars(["cat"], 0, corpus="pros") == []


def test_exemplar_ties_go_to_the_earlier_prompt(corpus, library):
    texts = [f"cat {word}" for word in ("delta", "alpha", "charlie", "bravo")]
    corpus(*texts)
    assert library.exemplars(["cat"], 3, corpus="pros") == texts[:3]


def test_exemplars_do_not_depend_on_other_corpora(corpus, library):
    corpus("red cat one", "red dog two", "blue cat three")
    before = library.exemplars(["red cat blue"], 3, corpus="pros")
    library.close()
    corpus(*[f"red thing {i}" for i in range(300)], name="flood")
    assert library.exemplars(["red cat blue"], 3, corpus="pros") == before
    assert library.exemplars(["red"], 1, corpus="flood") == ["red thing 0"]


def test_exemplars_see_what_was_imported_since(corpus, library):
    corpus("a cat")
    assert library.exemplars(["bird"], 3, corpus="pros") == []
    corpus("a bird")
    assert library.exemplars(["bird"], 3, corpus="pros") == ["a bird"]


def test_exemplars_from_several_threads(corpus, library):
    corpus(*[f"cat {i}" for i in range(200)])
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(library.exemplars(["cat"], 2, corpus="pros"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["cat 0", "cat 1"]] * 8


def test_frequent_phrases(corpus, library):
    corpus("4k, Sharp  focus, vivid", "cat, sharp focus, 4k, 4k, 4k", "dog, vivid, bokeh.", "4k")
    assert library.frequent_phrases(9, "pros") == ["sharp focus", "vivid", "4k", "bokeh"]
    assert library.frequent_phrases(1, "pros") == ["sharp focus"]
    assert library.frequent_phrases(0, "pros") == []


def test_without_a_library(library):
    assert library.stats() == []
    assert not library.has("pros")
    assert not library.path.exists()
    with pytest.raises(BadInput, match="no database at"):
        library.search("cat")


def test_an_unknown_corpus_is_named_with_the_known_ones(corpus, library):
    corpus("a cat")
    for ask in (
        lambda: library.digest("x"),
        lambda: library.exemplars(["cat"], 1, corpus="x"),
        lambda: library.frequent_phrases(1, "x"),
    ):
        with pytest.raises(BadInput, match="no corpus 'x', expected one of: pros"):
            ask()


def test_a_failure_half_way_leaves_nothing(tmp_path, library, corpus, monkeypatch):
    corpus("a cat")
    before = library.stats()

    def fail(texts):
        next(iter(texts))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_digest", fail)
    with pytest.raises(KeyboardInterrupt):
        corpus("a dog", "a bird")
    with pytest.raises(KeyboardInterrupt):
        corpus("a fish", name="new")
    monkeypatch.undo()
    assert library.stats() == before
    assert library.search("dog") == library.search("fish") == []
    assert corpus("a dog").added == 1


def test_a_full_disk_leaves_nothing(tmp_path, library, corpus, monkeypatch):
    corpus("a cat")
    before = library.stats()
    real = module.open_writable

    def small_disk(path, migrations):
        database = real(path, migrations)
        database.execute("PRAGMA max_page_count = 40")
        return database

    monkeypatch.setattr(module, "open_writable", small_disk)
    with pytest.raises(BadInput, match=r"disk is full; nothing was imported") as caught:
        corpus(*[f"prompt {i} " + "words " * 50 for i in range(2000)])
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert library.stats() == before


def test_a_bad_file_leaves_the_library_alone(tmp_path, library):
    bad = tmp_path / "bad.csv"
    bad.write_text("id,words\n1,a cat\n")
    with pytest.raises(BadInput, match="--column"):
        library.import_file(bad)
    assert not library.path.exists()
    assert library.import_file(bad, column="words").added == 1


def test_a_newer_schema_is_refused(corpus, library):
    corpus("a cat")
    database = sqlite3.connect(library.path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(BadInput, match="schema 99"):
        library.has("pros")
    with pytest.raises(BadInput, match="schema 99"):
        corpus("a dog")


def test_a_file_that_is_no_database(library):
    library.path.parent.mkdir()
    library.path.write_bytes(b"not a database, but long enough to be taken for one" * 40)
    with pytest.raises(BadInput, match="cannot read"):
        library.has("pros")
    library.path.write_bytes(b"")
    with pytest.raises(BadInput, match="cannot read"):
        library.digest("pros")


def test_a_home_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("a cat")
    prompts = tmp_path / "p.txt"
    prompts.write_text("a cat")
    with pytest.raises(BadInput, match=r"cannot open .* for writing"):
        Library(tmp_path / "file" / "prompts.db").import_file(prompts)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_readonly_file(corpus, library):
    corpus("a cat")
    library.path.chmod(0o444)
    assert library.has("pros")
    with pytest.raises(BadInput, match="readonly database"):
        corpus("a dog")


def test_a_disk_that_turns_readonly_is_one_line(corpus, library, monkeypatch):
    corpus("a cat")
    real = module.open_writable

    def readonly(path, migrations):
        database = real(path, migrations)
        database.execute("PRAGMA query_only = 1")
        return database

    monkeypatch.setattr(module, "open_writable", readonly)
    with pytest.raises(BadInput, match="readonly database; nothing was imported"):
        corpus("a dog")


def test_readers_cannot_write(corpus, library):
    corpus("a cat")
    with library._reading() as database, pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.execute("DELETE FROM entry")
    assert library.search("cat") != []

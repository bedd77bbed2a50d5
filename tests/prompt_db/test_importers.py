import json

import pytest

from core.errors import BadInput
from prompt_db.importers import MAX_CHARACTERS, READERS, read_prompts


@pytest.fixture
def write(tmp_path):
    def make(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_text_lines_with_bad_rows_and_duplicates(write):
    long, longest = "x" * 100_000, "y" * MAX_CHARACTERS
    path = write("a.txt", f"a cat\n\n  a dog  \na cat\n{long}\nbell\x07\ndel\x7f\n{longest}\n\n\n")
    got = read_prompts(path)
    assert got.prompts == ("a cat", "a dog", longest)
    assert got.duplicates == 1
    assert got.bad == (
        (2, "empty"),
        (5, "100000 characters, at most 2000 are taken"),
        (6, "has control characters"),
        (7, "has control characters"),
    )
    assert got.rows == 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.txt", ["Salvador Dalí", "猫, 4k"]),
        ("a.csv", ["Prompt,Note", "Salvador Dalí,x", '"猫, 4k",y']),
        ("a.tsv", ["Prompt\tNote", "Salvador Dalí\tx", "猫, 4k\ty"]),
        ("a.jsonl", ['{"TEXT": "Salvador Dalí"}', '{"TEXT": "猫, 4k"}']),
        ("a.json", ['["Salvador Dalí",', '"猫, 4k"]']),
    ],
    ids=["txt", "csv", "tsv", "jsonl", "json"],
)
def test_encodings_and_line_ends(write, encoding, newline, name, lines):
    path = write(name, (newline.join(lines) + newline).encode(encoding))
    assert read_prompts(path).prompts == ("Salvador Dalí", "猫, 4k")


def test_readers_cover_the_announced_formats():
    assert set(READERS) == {".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".json"}


def partiprompts(rows: int = 1632) -> str:
    """Return a table in the form of PartiPrompts: no quoting, quotes literal, also at the start of a cell."""
    lines = ["Prompt\tCategory\tChallenge\tNote"]
    for i in range(rows):
        prompt = f"a painting of scene {i}"
        if i % 50 == 7:
            prompt = f'a sign that says "Hello {i}!"'
        if i == 1560:
            prompt = '"G I G G L E" painted on a wall'
        if i % 400 == 399:
            prompt = "a painting of scene 0"
        lines.append(f"{prompt}\tArts\tBasic\t{'DALL-E' if i % 3 else ''}")
    return "\n".join(lines) + "\n"


def test_partiprompts(write):
    got = read_prompts(write("PartiPrompts.tsv", partiprompts()))
    assert (len(got.prompts), got.duplicates, got.bad, got.rows) == (1628, 4, (), 1632)
    assert got.prompts[7] == 'a sign that says "Hello 7!"'
    assert '"G I G G L E" painted on a wall' in got.prompts


def test_spreadsheet_tsv_is_unquoted(write):
    path = write("a.tsv", 'Prompt\tNote\n"a sign ""HI"""\tx\na cat\ty\n')
    assert read_prompts(path).prompts == ('a sign "HI"', "a cat")
    path = write("b.tsv", 'Prompt\tNote\n"two\nlines"\tx\n"a\ttab"\ty\n')
    assert read_prompts(path).prompts == ("two lines", "a tab")


def test_hpsv2_list_as_it_is(write):
    prompts = [f"prompt {i}, 4k" for i in range(800)]
    got = read_prompts(write("anime.json", json.dumps(prompts)))
    assert got.prompts == tuple(prompts)


def test_json_objects_and_odd_items(write):
    items = [
        {"id": 1, "prompt": "a"},
        {"id": 2},
        {"prompt": 5},
        "b",
        None,
        ["c"],
        {"prompt": "\ud800"},
        {"prompt": "x\ny"},
    ]
    got = read_prompts(write("a.json", json.dumps(items)))
    assert got.prompts == ("a", "b", "x y")
    assert got.bad == (
        (2, "no prompt"),
        (3, "a int, not a text"),
        (5, "no prompt"),
        (6, "a list, not a text"),
        (7, "has control characters"),
    )


def test_jsonl_bad_lines_are_counted(write):
    got = read_prompts(write("a.jsonl", '{"caption": "a"}\n{broken\n\n"b"\n{"caption": "a"}\n'))
    assert (got.prompts, got.duplicates, got.bad) == (("a", "b"), 1, ((2, "not JSON"), (3, "empty")))


@pytest.mark.parametrize("column", ["Prompt", "prompt", "TEXT", "caption", "naive_prompt", "Positive_Prompt"])
def test_columns_are_recognised_whatever_their_case(write, column):
    assert read_prompts(write("a.csv", f"id,{column}\n1,a cat\n")).prompts == ("a cat",)


def test_column_by_flag(write):
    path = write("a.csv", "prompt,my words\nx,a cat\n")
    assert read_prompts(path, "My Words").prompts == ("a cat",)
    assert read_prompts(write("a.jsonl", '{"q": "a dog", "prompt": "x"}'), "q").prompts == ("a dog",)


def test_a1111_styles(write):
    text = (
        'name,prompt,negative_prompt\nCine,"cinematic still {prompt}, film grain",cartoon\nPlain,"masterpiece, best",\n'
    )
    text += 'Only,{prompt},\nLead,"{prompt}, sharp focus",\n'
    got = read_prompts(write("styles.csv", text.encode("utf-8-sig")))
    assert got.prompts == ("cinematic still, film grain", "masterpiece, best", "sharp focus")
    assert got.bad == ((4, "empty"),)


def test_csv_rows_that_do_not_fit_the_header(write):
    got = read_prompts(write("a.csv", "id,prompt\n1,a cat, 4k\n2\n\n3,a dog\n"))
    assert got.prompts == ("a dog",)
    assert [row for row, _ in got.bad] == [2, 3, 4]
    assert "quotes around texts with commas" in got.bad[0][1]


def test_semicolon_csv(write):
    assert read_prompts(write("a.csv", "id;prompt\n1;a cat, 4k\n")).prompts == ("a cat, 4k",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "is empty, expected at least one prompt"),
        ("a.txt", " \n\r\n", "is empty"),
        ("a.txt", b"\x89PNG\r\n\x00\x00", "is a binary file"),
        ("a.txt", "a cat".encode("utf-16"), "UTF-16, expected UTF-8"),
        ("a.txt", b"caf\xe9", r"not UTF-8 \(byte 3\)"),
        ("a.txt", "x" * 2001, "no usable prompt .1 bad rows, the first: row 1, 2001 characters"),
        ("a.parquet", "PAR1", "expected one of .txt, .csv, .tsv"),
        ("a", "a cat", "expected one of .txt"),
        ("a.csv", "id,words\n1,a cat\n", "has the columns id, words, expected one named prompt, .*--column"),
        ("a.csv", "id,prompt\n", r"no usable prompt \(0 bad rows\)"),
        ("a.csv", 'prompt\n"a cat\na dog\n', "is not CSV at line"),
        ("a.json", "[1, ", "is not JSON"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", '{"a": 1}', "holds a JSON dict, expected a list"),
        ("a.json", "[]", "no usable prompt"),
        ("a.json", '[{"id": 3}]', "has the columns id, expected"),
        ("a.jsonl", "{broken", "no usable prompt .1 bad rows, the first: row 1, not JSON"),
    ],
)
def test_unusable_files_are_refused_in_one_line(write, name, content, message):
    with pytest.raises(BadInput, match=message) as caught:
        read_prompts(write(name, content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a cat", "has lines, not columns"),
        ("a.json", '["a cat"]', "has texts, not objects"),
        ("a.csv", "prompt\na cat\n", "has the columns prompt, expected a column 'words'; .*--column"),
    ],
)
def test_a_column_that_is_not_there(write, name, content, message):
    with pytest.raises(BadInput, match=message):
        read_prompts(write(name, content), "words")


def test_no_such_file_folder_and_impossible_path(tmp_path):
    with pytest.raises(BadInput, match="no file at"):
        read_prompts(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="is a folder"):
        read_prompts(tmp_path)
    with pytest.raises(BadInput, match="cannot read"):
        read_prompts(tmp_path / ("x" * 300 + ".txt"))

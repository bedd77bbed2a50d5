"""Phrases are untrusted text: whatever they hold, the tools that read a style take them literally."""

import pytest

from experiments.export.styles import for_a1111, for_comfyui, for_compel, plain
from tests.fixtures.consumers import a1111_meaning, comfyui_meaning, compel_marks, fooocus_wildcards, is_dynamic

HOSTILE = [
    "soft light",
    "(masterpiece:1.4)",
    "((very)) [[odd]]",
    "unbalanced (",
    r"back\slash \( twice",
    "{a|b} or {prompt}",
    "__wildcard__ in it",
    "a // comment",
    "half /* comment",
    "70% $off #tag",
    "<lora:evil:1>",
    "cat AND dog",
    "one BREAK two",
    "aspect 16:9",
    "0.5::weighed",
    "=1+1",
    "+plus",
    "-minus",
    "@home",
    "c++ and --no",
    'say "cheese"',
    "späte Sonne, 夕日",
]


@pytest.mark.parametrize("phrase", HOSTILE)
def test_a1111_reads_a_phrase_literally_wherever_it_stands(phrase: str) -> None:
    written = for_a1111(phrase)
    literal = for_a1111(phrase).replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    for text, meant in ((written, literal), (f"a cat, {written}", f"a cat, {literal}")):
        assert a1111_meaning(text) == [(meant, 1.0)]


def test_the_reader_of_the_tests_knows_the_syntax() -> None:
    assert a1111_meaning("a (b:1.3) [c]") == [("a ", 1.0), ("b", 1.3), (" ", 1.0), ("c", 1 / 1.1)]
    assert a1111_meaning("x AND y:2") == [("x ", 1.0), (" y", 2.0)]
    assert comfyui_meaning(r"a (b:1.3) \(c\)") == [("a ", 1.0), ("b", 1.3), (" (c)", 1.0)]
    assert is_dynamic("{a|b}")
    assert compel_marks("cat++, (dog)") == ["t++", "(", ")"]


@pytest.mark.parametrize("phrase", HOSTILE)
def test_no_phrase_is_a_wildcard_a_variant_a_comment_or_a_formula(phrase: str) -> None:
    for escape in (plain, for_a1111, for_comfyui, for_compel):
        written = escape(phrase)
        assert not is_dynamic(written)
        assert not fooocus_wildcards(written)
        assert not set(written) & set("{}<>#|\t\r\n")
        assert not written.startswith(("=", "+", "-", "@", " "))
        assert "::" not in written


@pytest.mark.parametrize("phrase", HOSTILE)
def test_comfyui_and_compel_read_a_phrase_literally(phrase: str) -> None:
    assert comfyui_meaning(for_comfyui(phrase)) == [(plain(phrase), 1.0)]
    assert not compel_marks(for_compel(phrase))


def test_what_can_be_escaped_is_kept() -> None:
    assert for_a1111("a (b) [c]") == r"a \(b\) \[c\]"
    assert for_comfyui("a (b) [c]") == r"a \(b\) [c]"
    assert for_a1111("soft light") == for_comfyui("soft light") == for_compel("soft light") == "soft light"
    assert for_compel("sci-fi city") == "sci-fi city"

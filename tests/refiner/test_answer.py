"""How answers relate to the user's words."""

import pytest

from core.errors import BadInput
from refiner.answer import join, prefix_of, share_kept, stem, tidy
from refiner.prip.answering import Answering


@pytest.mark.parametrize(
    ("prompt", "prefix"),
    [
        ("A monkey acting as a DJ.", "A monkey acting as a DJ,"),  # the paper's own seam was "DJ.,"
        ("  a cat ,  ", "a cat,"),
        ("a\ncat...", "a cat,"),
        ("海边的红船。", "海边的红船,"),
        ("赤い船、", "赤い船,"),
    ],
)
def test_the_prefix_has_no_seam(prompt: str, prefix: str) -> None:
    assert prefix_of(prompt) == prefix


def test_joining() -> None:
    assert join("a cat.", " sharp focus, warm palette, \nand more") == "a cat, sharp focus, warm palette"
    assert join("a cat.", "  \n") == "a cat"
    assert join("a cat", ", blurry") == "a cat, blurry"
    assert join("a cat, 8k", "8K, Sharp focus, sharp focus , 8k") == "a cat, 8k, Sharp focus"
    assert join("a cat", " a cat") == "a cat"
    assert join("a cat", " foo,, bar, , 1,000 lights,,") == "a cat, foo, bar, 1,000 lights"
    assert tidy("b, a, B, a.") == "b, a"
    assert tidy("10,000 boats, 10,000 boats") == "10,000 boats"
    assert tidy("a, ,, b") == "a, b"
    assert tidy("") == ""
    assert stem(" . ,") == ""


def test_share_kept() -> None:
    assert share_kept("a red boat by the sea", "Red boat, sea, sharp focus") == 1.0
    assert share_kept("a red boat by the sea", "a boat, sharp focus") == pytest.approx(1 / 3)
    assert share_kept("红船", "船, sharp focus") == 0.5  # characters, where words are not set apart
    assert share_kept("the of", "x") == 1.0


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(BadInput, match="expected one of prefix, close"):
        Answering(mode="near")

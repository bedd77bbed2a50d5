"""What is marked as new, and what a child changed."""

from reports.words import added_words, changed_sentences


def test_only_words_that_are_not_in_the_naive_prompt_are_new() -> None:
    found = added_words("a red cat, anime", "A red cat in a forest, anime, sharp focus")
    assert [text for text, new in found if new] == ["in a forest", "sharp focus"]
    assert "".join(text for text, _ in found) == "A red cat in a forest, anime, sharp focus"


def test_nothing_is_new_in_the_same_prompt_and_all_is_in_another() -> None:
    assert added_words("a cat", "a cat") == [("a cat", False)]
    assert added_words("", "猫, 夜") == [("猫, 夜", True)]
    assert added_words("a cat", "") == []


def test_sentences_that_changed() -> None:
    before = "Keep the prompt. Always add: light.\nUse at most 4 phrases."
    after = "Keep the prompt. Always add: shadow. Never add: blur.\nUse at most 4 phrases."
    assert changed_sentences(before, after) == [
        ("same", "Keep the prompt."),
        ("gone", "Always add: light."),
        ("new", "Always add: shadow."),
        ("new", "Never add: blur."),
        ("same", "Use at most 4 phrases."),
    ]


def test_very_long_texts_are_not_compared() -> None:
    text = "a cat, " * 2000
    assert added_words(text, text + "new") == [(text + "new", False)]

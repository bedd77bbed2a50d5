"""Signs of a policy that games its reward."""

import pytest

from refiner.diagnostics import (
    added,
    collapse_metrics,
    disagreement,
    distinct,
    greedy_metrics,
    subject_kept,
    warnings,
)

PROMPTS = ["a red boat by the sea", "the green cat"]
GOOD = ["a red boat by the sea, sharp focus", "the green cat, warm palette"]


def test_distinct() -> None:
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct(["a b", "a b"], 2) == 0.5
    assert distinct([""], 2) == 1.0


def test_subject_kept_counts_content_words() -> None:
    assert subject_kept(PROMPTS, GOOD) == 1.0
    assert subject_kept(PROMPTS, ["a red car", "green"]) == pytest.approx(2 / 5)  # red; green of boat, sea, cat ...


def test_scorers_disagree_where_signs_differ() -> None:
    assert disagreement({"a": [1.0, -1.0, 1.0, None], "b": [1.0, 1.0, -1.0, 1.0]}) == pytest.approx(2 / 3)
    assert disagreement({"a": [1.0]}) == 0.0


def test_greedy_answers_that_are_alike_are_seen() -> None:
    assert added("a red boat.", "a red boat, sharp focus, red sky") == ("sharp", "focus", "red", "sky")
    assert added("a red boat", "moody boat at sea") == ("moody", "at", "sea")
    assert added("a boat", "a boat") == ()
    prompts = ["a boat", "a cat", "a dog", "a tree"]
    found = greedy_metrics(prompts, ["a boat, oil", "a cat, oil.", "a dog, Oil", "a tree, pastel"])
    assert found == {"collapse/greedy_distinct": 0.5, "collapse/greedy_same": 0.75}
    first = {**collapse_metrics(PROMPTS, GOOD, {}), "objective/kl": 0.0}
    assert ["greedy answers add the same words to 75%" in line for line in warnings(first | found, first)] == [True]
    assert warnings(first | greedy_metrics(prompts, prompts[::-1]), first) == []


@pytest.mark.parametrize(
    ("refined", "kl", "rewards", "word"),
    [
        (["masterpiece"] * 2, 1.0, {}, "content words"),
        (["a red boat by the sea the green cat"] * 2 + ["a red boat by the sea the green cat"] * 6, 1.0, {}, "alike"),
        ([text + " and more and more and yet more words of this" for text in GOOD], 1.0, {}, "length pays"),
        (GOOD, 99.0, {}, "raise kl_coef"),
        (GOOD, 1.0, {"a": [1.0, 1.0], "b": [-1.0, -1.0]}, "disagree"),
    ],
)
def test_each_sign_warns(refined: list[str], kl: float, rewards: dict[str, list[float | None]], word: str) -> None:
    first = {**collapse_metrics(PROMPTS, GOOD, {}), "objective/kl": 0.0}
    assert warnings(first, first) == []
    prompts = (PROMPTS * 4)[: len(refined)]
    now = {**collapse_metrics(prompts, refined, rewards), "objective/kl": kl}
    assert any(word in line for line in warnings(now, first))

"""What refiners learn from: every paper's filter, its threshold, and the count of what it drops."""

import json
from pathlib import Path

import pytest

from core.errors import BadInput
from prompt_db.importers import read_prompts
from prompt_db.prompt_pairs import PromptPair, read_pairs
from refiner.data import (
    PairFilter,
    beautiful_pairs,
    continuation_pairs,
    hpdv2_pictures,
    improving_pairs,
    prefixes,
    session_pairs,
    usable_pairs,
    usable_prompts,
)


def tokens(text: str) -> int:
    return len(text.split())


def long(n: int, name: str = "a") -> str:
    return " ".join([name] * n)


def test_blocked_terms_are_whole_words() -> None:
    found = usable_prompts(["a cat", "a Concat", "a category", "a cat", "by Ann  Lee, oil"], ["CAT", "ann lee"])
    assert found.items == ("a Concat", "a category")
    assert found.dropped == {"blocked term": 3}
    assert str(found) == "used 2 of 5; dropped: 3 blocked term"
    pairs = usable_pairs([PromptPair("a", "b, cat"), PromptPair("a", "b"), PromptPair("a", "b")], ["cat"])
    assert (pairs.items, pairs.dropped) == ((PromptPair("a", "b"),), {"blocked term": 1, "duplicate": 1})
    assert str(usable_prompts(["a"])) == "used 1 of 1"
    with pytest.raises(BadInput, match="--block-terms"):
        usable_prompts(["a"], [" "])


def test_neuroprompts_goes_on_from_the_first_comma() -> None:
    corpus = ["a cat, oil, moody", "a cat", ", oil", "a dog, .", "a cat, oil, moody"]
    found = continuation_pairs(corpus)
    assert found.items == (PromptPair("a cat", "a cat, oil, moody"),)
    assert found.dropped == {
        "no comma": 1, "nothing before the first comma": 1, "nothing behind the first comma": 1, "duplicate": 1,
    }  # fmt: skip
    assert prefixes(corpus).items == ("a cat", "a dog")
    assert prefixes(corpus, "full").items == ("a cat, oil, moody", "a cat", ", oil", "a dog, .")
    with pytest.raises(BadInput, match="first-comma, full"):
        prefixes(corpus, "half")


def test_beautifulprompt_filters_by_pickscore_and_length() -> None:
    pairs = [
        PromptPair("a", long(25, "x"), pick_score=18.5),
        PromptPair("b", long(40), pick_score=18.49),
        PromptPair("c", long(24), pick_score=30.0),
        PromptPair("d", long(40)),
        PromptPair("e", long(35), pick_score=20.0),
    ]
    kept = beautiful_pairs(pairs, tokens, PairFilter(thin_share=0.0))
    assert [pair.low for pair in kept.items] == ["a", "e"]
    assert kept.dropped == {"PickScore under 18.5": 1, "under 25 tokens": 1, "no PickScore": 1}
    unseen = beautiful_pairs(pairs, tokens, PairFilter(min_pick=None, thin_share=1.0))
    assert [pair.low for pair in unseen.items] == ["b", "d", "e"]
    assert unseen.dropped == {"thinned, under 35 tokens": 1, "under 25 tokens": 1}


def test_thinning_is_a_function_of_seed_and_pair() -> None:
    pairs = [PromptPair(str(i), f"{i} {long(24 + i % 10)}", pick_score=19.0) for i in range(1000)]
    kept = beautiful_pairs(pairs, tokens, seed=1)
    assert 650 < len(kept.items) < 750
    backwards = beautiful_pairs(pairs[::-1], tokens, seed=1)
    assert set(backwards.items) == set(kept.items) != set(beautiful_pairs(pairs, tokens, seed=2).items)


def test_rew_log_takes_the_first_and_last_prompt_of_a_session() -> None:
    found = session_pairs([("a", "a, oil", "a, ink"), ("b",), (), ("c", "d", "c")])
    assert found.items == (PromptPair("a", "a, ink"),)
    assert found.dropped == {"one prompt only": 2}


def test_rew_keeps_what_improves_by_every_scorer() -> None:
    pairs = [PromptPair("a", "b"), PromptPair("c", "d"), PromptPair("e", "f"), PromptPair("g", "h")]
    gains = {"imagereward": [0.1, 0.2, None, 0.1], "hpsv2": [0.01, 0.0, 0.1, float("nan")]}
    found = improving_pairs(pairs, gains)
    assert found.items == (PromptPair("a", "b"),)
    assert found.dropped == {"not better by hpsv2": 1, "no score": 2}
    with pytest.raises(BadInput, match="got 1 for 4 pairs"):
        improving_pairs(pairs, {"hpsv2": [0.1]})
    with pytest.raises(BadInput, match="no scorer"):
        improving_pairs(pairs, {})


def test_the_released_pairs_bring_their_pickscore(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    rows = [{"raw_prompt": "a cat", "prompt": "a cat, oil", "pick_score": score} for score in (19.5, "high", None)]
    path.write_text(json.dumps([*rows[:1], {"raw_prompt": "b", "prompt": "b, oil", "pick_score": True}]))
    assert [pair.pick_score for pair in read_pairs(path).pairs] == [19.5, None]


def test_hpdv2_gives_prompts_and_preferred_pictures(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "b.jpg").touch()
    (tmp_path / "outside.jpg").touch()
    rows = [
        {"prompt": "a cat", "file_path": ["a.jpg", "b.jpg"], "human_preference": [0, 1]},
        {"prompt": "a dog", "file_path": ["a.jpg", "b.jpg"], "human_preference": [1, 0]},
        {"prompt": "a fox", "file_path": ["../outside.jpg", "b.jpg"], "human_preference": [1, 0]},
        {"prompt": "a hen", "file_path": ["a.jpg", "b.jpg"], "human_preference": [1, 1]},
        {"prompt": "", "file_path": ["b.jpg"], "human_preference": [1]},
        {"prompt": "no pictures"},
    ]
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows))
    found = hpdv2_pictures(path, pictures)
    assert [(row.prompt, row.path.name) for row in found.items] == [("a cat", "b.jpg")]
    assert found.dropped == {
        "picture not there": 2, "no single preferred picture": 1, "empty": 1,
        "without prompt, file_path or human_preference": 1,
    }  # fmt: skip
    assert read_prompts(path).prompts == ("a cat", "a dog", "a fox", "a hen", "no pictures")
    path.write_text("{}")
    with pytest.raises(BadInput, match="expected a list"):
        hpdv2_pictures(path, pictures)

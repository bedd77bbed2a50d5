"""Learned phrases come from what was drawn and scored, and from nothing else."""

import pytest

from core.records import Block, Prompt
from experiments.evidence import Evidence
from experiments.export.learned import learn

ARMS = ("mine", "other")


def evidence(refined: dict[str, list[str]], scores: dict[str, list[float]], negatives: list[str] = ()) -> Evidence:  # type: ignore[assignment]
    """A run of one block a prompt: the refined prompts and the scores of each arm, in the prompts' order."""
    count = len(refined["mine"])
    drawn = {
        (arm, f"b{k}"): {
            "key": "",
            "prompt": text,
            "negative": negatives[k] if arm == "mine" and negatives else "",
            "error": "",
        }
        for arm, texts in refined.items()
        for k, text in enumerate(texts)
    }
    return Evidence(
        seeds={"test": 0},
        instructions={},
        gradients={},
        pulls=(),
        prompts={f"p{k}": Prompt(f"p{k}", f"cat {k}, photo", "test") for k in range(count)},
        blocks={f"b{k}": Block(f"b{k}", f"p{k}", k, "test", k, 0) for k in range(count)},
        scores={arm: {f"b{k}": v for k, v in enumerate(values)} for arm, values in scores.items()},
        drawn=drawn,
    )


def test_share_order_and_spelling() -> None:
    texts = [f"cat {k}, photo, {'Soft Light' if k else 'soft light'}" for k in range(4)]
    found = learn(
        evidence({"mine": [texts[0] + ", grain", texts[1] + ", grain", *texts[2:]]}, {"mine": [1.0] * 4}), "mine"
    )
    assert [(phrase.text, phrase.share) for phrase in found.phrases] == [("Soft Light", 1.0), ("grain", 0.5)]
    assert found.prompts == 4
    assert found.typical == 2
    assert found.style == ["Soft Light", "grain"]


def test_what_the_user_says_is_not_learned_and_one_prompt_is_no_habit() -> None:
    found = learn(
        evidence({"mine": ["cat 0, photo, x", "cat 1, photo, y", "cat 2, photo"]}, {"mine": [1.0] * 3}), "mine"
    )
    assert found.phrases == ()
    assert found.style == []


def test_effect_is_paired_on_blocks_where_another_instruction_left_the_phrase_out() -> None:
    refined = {
        "mine": [f"cat {k}, photo, grain" for k in range(3)],
        "other": ["cat 0, photo, light", "cat 1, photo, light", "cat 2, photo, light, grain"],
        "naive": [f"cat {k}, photo" for k in range(3)],
    }
    scores = {"mine": [3.0, 4.0, 9.0], "other": [1.0, 3.0, 2.0], "naive": [-50.0] * 3}
    [grain] = learn(evidence(refined, scores), "mine").phrases
    assert grain.effect is not None
    assert grain.effect.mean == pytest.approx(1.5), "blocks 0 and 1: 3 - 1 and 4 - 3; block 2 has no picture without"
    assert grain.effect.n == 2
    alone = learn(evidence({"mine": refined["mine"]}, {"mine": scores["mine"]}), "mine").phrases
    assert alone[0].effect is None


def test_a_phrase_that_clearly_went_along_with_harm_stays_out_of_the_style() -> None:
    refined = {
        "mine": [f"cat {k}, photo, blurry, light" for k in range(6)],
        "other": [f"cat {k}, photo, light" for k in range(6)],
    }
    found = learn(evidence(refined, {"mine": [0.0] * 6, "other": [1.0 + k / 10 for k in range(6)]}), "mine")
    assert {phrase.text for phrase in found.phrases} == {"blurry", "light"}
    assert found.style == ["light"]


def test_a_style_has_as_many_phrases_as_a_prompt_and_no_rare_ones() -> None:
    texts = [f"cat {k}, photo, always, {'often' if k < 6 else 'seldom' if k < 8 else 'odd'}" for k in range(12)]
    texts = [text.replace("seldom", f"seldom {k}") for k, text in enumerate(texts)]
    found = learn(evidence({"mine": texts}, {"mine": [1.0] * 12}), "mine")
    assert found.typical == 2
    assert found.style == ["always", "often"]


def test_negative_prompts_are_learned_likewise() -> None:
    refined = {"mine": [f"cat {k}, photo" for k in range(4)]}
    found = learn(evidence(refined, {"mine": [1.0] * 4}, ["blurry, text", "blurry", "blurry", ""]), "mine")
    assert [(phrase.text, phrase.share) for phrase in found.negatives] == [("blurry", 0.75)]
    assert found.negative_style == ["blurry"]
    assert found.style == []

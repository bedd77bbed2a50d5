"""Templates of causal refiners: the same text in training and answering; settings of a manifest."""

import pytest

from core.errors import BadInput
from refiner.neurologic_config import NeuroLogic
from refiner.prompting import STYLES, Generation, Prompting, prompting_of

LOW, HIGH = "a red boat", "a red boat, oil paintings."


@pytest.mark.parametrize(
    ("style", "source", "target"),
    [
        ("neuroprompts", "a red boat,", " oil paintings"),
        ("promptist", "a red boat Rephrase:", " a red boat, oil paintings"),
        (
            "beautifulprompt",
            "Instruction: Give a simple description of the image to generate a drawing prompt.\nInput: a red boat\n"
            "Output:",
            " a red boat, oil paintings",
        ),
    ],
)
def test_what_is_learnt_is_what_is_answered(style: str, source: str, target: str) -> None:
    own = STYLES[style]
    assert own.source(LOW) == own.source(f" {LOW}. ") == source
    assert own.target(LOW, HIGH) == target
    assert own.result(LOW, target) == "a red boat, oil paintings"  # the last "s" stays


def test_results_are_one_line() -> None:
    own = STYLES["promptist"]
    assert own.result(LOW, " a boat, calm,\nInput: a cat") == "a boat, calm"
    assert own.result(LOW, " \n ") == ""
    assert STYLES["neuroprompts"].result(LOW, " , ") == LOW


def test_a_continuation_goes_on_from_its_prompt() -> None:
    assert STYLES["neuroprompts"].target("a  cat.", "a cat, oil") == " oil"
    with pytest.raises(BadInput, match="goes on from the other"):
        STYLES["neuroprompts"].target("a dog", "a cat, oil")


@pytest.mark.parametrize("template", ["nothing", "{prompt} {prompt}"])
def test_templates_need_one_place_for_the_prompt(template: str) -> None:
    with pytest.raises(BadInput, match="in it once"):
        Prompting(template)
    with pytest.raises(BadInput, match="at its end"):
        Prompting("{prompt} Rephrase:", continues=True)


def test_a_manifest_changes_single_settings() -> None:
    own = prompting_of({"style": "promptist", "search": {"beam": 2}, "generation": {"top_k": 5}}, "f")
    assert own.search == STYLES["promptist"].search.__class__(
        beam=2, max_tokens=75, min_tokens=1, length_penalty=-1.0, no_repeat_ngram=0
    )
    assert own.generation == Generation(max_new_tokens=75, top_k=5)
    assert prompting_of({"style": "promptist", "search": None}, "f").search is None
    assert prompting_of({"style": "beautifulprompt", "search": {"beam": 2}}, "f").search == NeuroLogic(beam=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected a style out of"),
        ({"style": "promptist", "beams": 3}, "got the setting 'beams'"),
        ({"style": "promptist", "search": {"beam": "wide"}}, "f: settings.search.beam: got 'wide'"),
        ({"style": "promptist", "generation": None}, "f: settings.generation: got None"),
        ({"style": "promptist", "generation": {"top_p": 2}}, "top_p at most 1"),
        ({"style": "promptist", "wishes": {"chosen": {"mood": ["a"]}}}, "got the category 'mood'"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        prompting_of(settings, "f")

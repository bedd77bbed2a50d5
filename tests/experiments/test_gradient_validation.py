"""What gradients say of phrases, read from their words, and the counts behind precision and recall."""

import json
from pathlib import Path

import pytest

from agents.offline.evidence import Effect, Evidence
from agents.offline.wording import write_evidence
from core.errors import BadInput
from experiments.folder import create_folder
from experiments.gradient_validation import _ratio, _summary, _tally, known_effects, validate_gradients, what_it_says
from miniworld.vocabulary import FAMILIES, FAMILY_TERMS, HARMFUL_TERMS
from prompt_db.run_store import RunStore
from tests.integration.world import stub_config

pytestmark = pytest.mark.slow

OFFLINE = write_evidence(
    Evidence(
        effects=(
            Effect("sharp focus", "", 0.02, 0.005, 30),
            Effect("cel shading", "", 0.001, 0.005, 20),
            Effect("blurry", "", -0.03, 0.01, 9),
            Effect("cel shading", "anime", 0.05, 0.01, 8),
            Effect("sharp focus", "anime", 0.001, 0.01, 8),
        ),
        fresh=(0.0, 0.01),
        bend={3: 0.0},
        results=40,
        share={"anime": 0.25},
    )
)


def test_the_offline_gradient_is_read_under_the_familys_word_and_else_in_general() -> None:
    said = what_it_says(OFFLINE, {"sharp focus", "cel shading", "blurry", "8k"})
    assert {family: said["sharp focus", family] for family in FAMILIES} == {
        "anime": 0,
        "concept-art": 1,
        "paintings": 1,
        "photo": 1,
    }
    assert [said["cel shading", family] for family in FAMILIES] == [1, 0, 0, 0]
    assert {said["blurry", family] for family in FAMILIES} == {-1}
    assert {said["8k", family] for family in FAMILIES} == {0}
    signs = what_it_says(OFFLINE, {"cel shading"}, clear=0)
    assert {signs["cel shading", family] for family in FAMILIES} == {1}, "every number has a sign"


def test_free_text_names_a_phrase_by_the_words_of_its_sentence() -> None:
    text = (
        "The best results add sharp focus and vibrant colors. Prompts with blurry did worse; avoid dull colors.\n"
        "Grainy appears in a few. Never drop cel shading, it improves line work."
    )
    said = what_it_says(text, {"sharp focus", "vibrant colors", "blurry", "dull colors", "grainy", "cel shading", "8k"})
    signs = {phrase: said[phrase, "photo"] for phrase in {key[0] for key in said}}
    assert signs == {
        "sharp focus": 1,
        "vibrant colors": 1,
        "blurry": -1,
        "dull colors": -1,
        "grainy": 0,
        "cel shading": 0,  # a word of each kind: not clear
        "8k": 0,
    }


def test_known_effects_have_the_signs_that_the_world_was_built_with() -> None:
    effects = known_effects()
    assert all(effects[term, family] == -1 for term in HARMFUL_TERMS for family in FAMILIES)
    assert all(effects[term, family] == 1 for family in FAMILIES for term in FAMILY_TERMS[family])
    assert all(effects["sharp focus", family] == 1 for family in FAMILIES)
    assert ("8k", "photo") not in effects, "fillers do nothing, so they are not measured"


def test_precision_and_recall_by_hand() -> None:
    said = {("sharp focus", "photo"): 1, ("blurry", "photo"): 1, ("grainy", "photo"): -1, ("8k", "photo"): 0}
    tally = _tally("one", 5, 12, said)
    assert (tally.said, tally.true, tally.right) == (
        {"helpful": 2, "harmful": 1},
        {"helpful": 1, "harmful": 2},
        {"helpful": 1, "harmful": 1},
    )
    summary = _summary([tally, tally])  # counts as two: only equal gradients of runs are one
    assert summary["results"] == 12
    assert summary["helpful"]["precision"] == {"mean": 0.5, "ci95": [0.5, 0.5]}
    assert summary["helpful"]["recall"]["mean"] == 1.0
    assert summary["harmful"]["recall"]["mean"] == 0.5
    assert summary["harmful"]["chance"] == 0.5
    assert _ratio([0], [0]) is None


def test_other_worlds_have_no_known_effects(tmp_path: Path) -> None:
    config = stub_config(tmp_path)
    folder = create_folder(tmp_path / "runs", "one", config.model_dump(mode="json"))
    with pytest.raises(BadInput, match="not on the miniworld"):
        validate_gradients([folder])


def test_runs_are_counted_by_batch_size_from_their_stored_facts(tmp_path: Path) -> None:
    raw = stub_config(tmp_path, run={"batch_size": 2}).model_dump(mode="json")
    raw["prompts"]["file"] = None
    folder = create_folder(tmp_path / "runs", "one", raw)
    store = RunStore.writer(folder.database)
    for table, row in (
        ("prompt", {"id": "p", "split": "train", "place": 0, "text": "a cat, photo", "grp": "photo"}),
        (
            "block",
            {"id": "train/0.0", "split": "train", "batch": 0, "place": 0, "replicate": 0, "prompt_id": "p", "seed": 1},
        ),
        ("pull", {"id": "r1p0", "round": 1, "k": 0, "arm": "r0c0", "batch": 0, "status": "told", "reason": ""}),
        ("pull", {"id": "r2p0", "round": 2, "k": 0, "arm": "r0c0", "batch": 1, "status": "told", "reason": ""}),
        (
            "refinement",
            {"arm": "r0c0", "prompt_id": "p", "replicate": 0, "text": "a cat, photo, Sharp Focus", "error": ""},
        ),
        ("gradient", {"round": 1, "arm": "r0c0", "text": OFFLINE, "error": ""}),
        ("gradient", {"round": 2, "arm": "r0c0", "text": "", "error": "empty"}),
    ):
        store.upsert(table, [row])
    store.close()
    found = validate_gradients([folder])
    assert validate_gradients([folder, folder]) == found, "a gradient that two runs share counts once"
    first = found["batch_sizes"]["2"]["first"]
    assert first["gradients"] == first["results"] == 1
    assert first["helpful"]["precision"]["mean"] == 1.0
    assert first["helpful"]["recall"]["mean"] == 0.75, "it says nothing of sharp focus in anime"
    assert first["harmful"]["precision"] is None
    json.dumps(found, allow_nan=False)

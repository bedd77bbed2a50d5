"""The weighted mix: standardised by constants, so that a score is a function of picture and prompt alone."""

import json
import re
from dataclasses import dataclass

import pytest

from core.errors import BadInput
from core.interfaces import Scorer
from core.records import Score, ScoreItem
from scoring import load_scorer
from scoring.weighted import NOMINAL
from tests.scoring.test_contract import picture

ITEMS = [ScoreItem(picture(0), "a fox"), ScoreItem(picture(1), "a dog"), ScoreItem(picture(2), "fail")]
RAW = {"hpsv2.1": (0.29, 0.23), "aesthetic": (5.9, 5.4), "pickscore": (22.2, 21.0)}


@dataclass
class Fake:
    """Gives RAW's values, scaled by what the source says; an item that says "fail" fails."""

    name: str
    scale: float = 1.0
    revision: str = "1"
    chunk: int = 4

    def score(self, items):
        values = RAW[self.name.partition(":")[0]]
        return [
            Score(None, "no picture") if item.prompt == "fail" else Score(values[place] * self.scale)
            for place, item in enumerate(items)
        ]


@pytest.fixture(autouse=True)
def scorers(monkeypatch):
    for kind in RAW:
        monkeypatch.setitem(load_scorer.__globals__["SCORERS"], kind, lambda source, _, kind=kind: make(kind, source))


def make(kind: str, source: str | None) -> Scorer:
    return Fake(kind) if source is None else Fake(f"{kind}:{source}", 2.0, revision=source)


def test_parts_are_standardised_and_weighted():
    mix = load_scorer("weights:hpsv2.1=0.7,aesthetic=0.3", chunk=4)
    assert isinstance(mix, Scorer)
    assert mix.name == "weights:hpsv2.1=0.7,aesthetic=0.3"
    first, second, _ = mix.score(ITEMS)
    assert (NOMINAL["hpsv2.1"].mean, NOMINAL["hpsv2.1"].sd) == (0.26, 0.03)
    assert first.value == pytest.approx(0.7 * (0.29 - 0.26) / 0.03 + 0.3 * (5.9 - 5.4) / 0.5)
    assert second.value == pytest.approx(0.7 * (0.23 - 0.26) / 0.03)


def test_the_scale_of_a_part_does_not_decide_its_share():
    """One deviation of PickScore (1.2) weighs as much as one of HPSv2 (0.03)."""
    mix = load_scorer("weights:hpsv2.1=1,pickscore=1", chunk=4)
    one, other, _ = mix.score(ITEMS)
    assert one.value - other.value == pytest.approx((0.29 - 0.23) / 0.03 + (22.2 - 21.0) / 1.2)


def test_neighbours_and_order_do_not_matter():
    mix = load_scorer("weights:hpsv2.1=0.7,aesthetic=0.3", chunk=4)
    assert mix.score(ITEMS[:1]) == mix.score(ITEMS)[:1]


def test_an_item_that_one_part_cannot_score_has_no_score():
    assert load_scorer("weights:hpsv2.1=0.7,aesthetic=0.3").score(ITEMS)[2] == Score(None, "hpsv2.1: no picture")


def revisions(*specs):
    return {load_scorer(spec).revision for spec in specs}


def test_the_revision_covers_parts_weights_and_constants(tmp_path):
    file = tmp_path / "mix.json"
    found = revisions("weights:hpsv2.1=0.7,aesthetic=0.3", "weights:hpsv2.1=0.7,aesthetic=0.31", "weights:hpsv2.1=0.7")
    for change in ({}, {"mean": 0.1}, {"sd": 0.1}, {"scorer": "hpsv2.1=other.pt"}):
        part = {"scorer": "hpsv2.1", "weight": 0.7, "mean": 0.26, "sd": 0.03} | change
        file.write_text(json.dumps({"parts": [part]}))
        found |= revisions(f"weights:{file}")
    assert len(found) == 6  # the file without a change says what `weights:hpsv2.1=0.7` says
    assert revisions("weights:hpsv2.1=0.7") == revisions("weights: hpsv2.1=0.70")


def test_a_folder_brings_its_constants(tmp_path):
    (tmp_path / "reference.json").write_text(json.dumps({"pickscore": {"mean": 40.0, "sd": 4.0}}))
    mix = load_scorer(f"weights:pickscore={tmp_path}=0.5,hpsv2.1=1")
    assert mix.name == f"weights:pickscore:{tmp_path}=0.5,hpsv2.1=1"
    assert mix.score(ITEMS)[0].value == pytest.approx(0.5 * (44.4 - 40) / 4 + 1.0)


def test_a_folder_without_constants_is_never_standardised_by_those_of_the_release(tmp_path):
    wanted = re.escape('expected {"pickscore": {"mean": M, "sd": S}} in ' + str(tmp_path / "reference.json"))
    with pytest.raises(BadInput, match=wanted):
        load_scorer(f"weights:pickscore={tmp_path}=0.5")
    (tmp_path / "reference.json").write_text(json.dumps({"clipscore": {"mean": 40.0, "sd": 4.0}}))
    with pytest.raises(BadInput, match=wanted):
        load_scorer(f"weights:pickscore={tmp_path}=0.5")


def test_a_file_may_give_constants_for_a_folder(tmp_path):
    part = {"scorer": f"pickscore={tmp_path}", "weight": 1, "mean": 44.4, "sd": 2}
    (tmp_path / "mix.json").write_text(json.dumps({"parts": [part]}))
    assert load_scorer(f"weights:{tmp_path / 'mix.json'}").score(ITEMS)[0].value == pytest.approx(0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("weights:", "got the part ''"),
        ("weights", "got the part ''"),
        ("weights:hpsv2.1", "got the part 'hpsv2.1'"),
        ("weights:hpsv2.1=0.7,", "got the part ''"),
        ("weights:hpsv2.1=much", "got the part 'hpsv2.1=much'"),
        ("weights:hpsv2.1=nan", "got the part"),
        ("weights:hpsv2.1=inf", "got the part"),
        ("weights:hpsv2.1=0", "got the part"),
        ("weights:hpsv2.1=-1", "got the part"),
        ("weights:=1", "got the part '=1'"),
        ("weights:weights:hpsv2.1=1", "got the part"),
        ("weights:hpsv2.1=1,hpsv2.1=2", "got hpsv2.1 more than once"),
        ("weights:hpsv9=1", "got no mean and deviation for hpsv9, expected one of hpsv2.0"),
    ],
)
def test_malformed_mixes_are_one_line_errors(spec, message):
    with pytest.raises(BadInput, match=message) as caught:
        load_scorer(spec)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "got no readable JSON"),
        ('{"parts": []}', "got parts: List should have at least 1 item"),
        ('{"parts": [{"scorer": "hpsv2.1"}]}', r"got parts\.0\.weight: Field required"),
        ('{"parts": [{"scorer": "hpsv2.1", "weight": 1, "sd": 0}]}', r"got parts\.0\.sd"),
        ('{"parts": [{"scorer": "weights:hpsv2.1=1", "weight": 1}]}', "expected single scorers"),
    ],
)
def test_malformed_files_are_one_line_errors(tmp_path, content, message):
    file = tmp_path / "mix.json"
    file.write_text(content)
    with pytest.raises(BadInput, match=message) as caught:
        load_scorer(f"weights:{file}")
    assert "\n" not in str(caught.value)


def test_malformed_references_are_one_line_errors(tmp_path):
    (tmp_path / "reference.json").write_text('{"pickscore": {"mean": 1}}')
    with pytest.raises(BadInput, match=r"reference\.json: got pickscore\.sd: Field required, expected"):
        load_scorer(f"weights:pickscore={tmp_path}=1")

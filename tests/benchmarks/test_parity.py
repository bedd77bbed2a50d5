"""`make parity` without the package: a stand-in that behaves as hpsv2 does, and one that does not."""

import math
import re

import pytest

from benchmarks import parity, parity_environment
from benchmarks.parity import Refused, Row, cases, compare, odd_texts, report
from core.records import ScoreItem
from scoring import load_scorer
from tests.scoring.tiny import save_tiny_scorer

pytestmark = pytest.mark.slow
CASES = [case for case in cases() if not case.label.startswith("longest side")]
"""Without those that are about 224 pixels: the tiny scorer sees 32."""
LITERAL = {prompt for prompt, _ in parity.SPECIAL.values()}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return load_scorer(str(save_tiny_scorer(tmp_path_factory.mktemp("parity") / "tiny")), chunk=8, threads=1)


@pytest.fixture
def package(scorer):
    """Build a stand-in that treats apart what hpsv2 does, unless `tame`; `off` is added to each of its scores."""

    def build(off=0.0, tame=False):
        def theirs(images, prompt):
            if not tame and any(image.mode == "RGBA" for image in images):
                raise Refused("RuntimeError: expected 3 channels")
            read = "something else" if prompt in LITERAL and not tame else prompt
            return [scorer.score([ScoreItem(image, read)])[0].value + off for image in images]

        return theirs

    return build


def test_equal_scores_pass(scorer, package, capsys):
    rows = compare(scorer, package(), CASES)
    assert [row.label for row in rows] == [case.label for case in CASES]
    assert report(rows, []) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("largest difference ")


def test_a_difference_above_the_bound_fails_and_is_printed_last(scorer, package, capsys):
    assert report(compare(scorer, package(off=3e-6), CASES), []) == 1
    assert re.fullmatch(r"largest difference 3\.\d\de-06, bound 1e-06", capsys.readouterr().out.splitlines()[-1])


def test_a_package_that_is_not_apart_where_it_was_said_to_be_fails(scorer, package, capsys):
    assert report(compare(scorer, package(tame=True), CASES), []) == 1
    printed = capsys.readouterr().out
    assert "fault: transparent: the package was said to be apart (refuses), and is not" in printed
    assert "fault: special token: end_of_text: the package was said to be apart (differs), and is not" in printed


def test_no_score_other_tokens_or_a_nan_fail(capsys):
    fine = Row("x", 0.1, 0.1)
    assert report([fine], []) == 0
    assert report([fine], ["other tokens for 'x'"]) == 1
    assert report([fine, Row("y", math.nan, 0.1)], []) == 1
    assert report([Row("y", math.nan, 0.1), fine], []) == 1


def test_cases_cover_what_the_issue_names():
    found = list(cases())
    sizes = {case.picture.size for case in found}
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)
    assert {case.picture.mode for case in found} >= {"RGB", "L", "P", "RGBA"}
    assert {case.apart for case in found} == {"", "refuses", "differs"}
    assert all((case.stands_for is not None) == bool(case.apart) for case in found)
    assert "" in parity.PROMPTS.values()
    assert any("“" in prompt for prompt in parity.PROMPTS.values())
    assert len(set(odd_texts(50))) > 45


def test_the_environment_gets_the_torch_of_the_project():
    assert parity_environment.torch_requirement().startswith("torch>=")
    ignored = (parity_environment.ROOT / ".gitignore").read_text().splitlines()
    assert f"{parity_environment.FOLDER.name}/" in ignored

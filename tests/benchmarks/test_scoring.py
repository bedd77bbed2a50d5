"""benchmarks/scoring.py: its figures, and that it runs as a file although it is named like a package of ours."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scoring import Seconds, prompts, summary

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def test_figures_are_medians_of_the_repetitions_ratios():
    found = [Seconds(1.0, 1.0, 2.0, 1.5, 1e-8), Seconds(2.0, 1.0, 8.0, 6.0, 3e-8), Seconds(3.0, 2.0, 9.0, 3.0, 2e-8)]
    assert summary(found, "cpu", "ViT-B-32") == {
        "ours_over_forward": 1.5,
        "hpsv2_over_ours": 3.0,
        "hpsv2_list_over_ours": 1.5,
        "max_abs_diff": 3e-8,
        "device": "cpu",
        "architecture": "ViT-B-32",
    }


def test_no_prompt_was_encoded_before():
    texts = [text for repetition in range(5) for text in prompts(repetition, 4)]
    assert len(set(texts)) == 20


@pytest.mark.parametrize("script", ["scoring.py", "parity.py"])
def test_it_runs_from_anywhere(script, tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--architecture" in done.stdout

"""The shipped preference model through the same loader as the real HPSv2."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.records import ScoreItem
from scoring import load_scorer

FOLDER = Path(__file__).parents[2] / "miniworld" / "scorer"
pytestmark = pytest.mark.slow


def test_it_scores_independent_of_place_and_neighbours():
    scorer = load_scorer(str(FOLDER), threads=2)
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(scorer.chunk)]
    items = [ScoreItem(image, f"a red cat {i}") for i, image in enumerate(noise)]
    scores = scorer.score(items)
    assert scorer.name == "hpsv2:miniworld/scorer"
    assert all(score.value is not None and -1 <= score.value <= 1 for score in scores)
    assert scorer.score(items[::-1])[::-1] == scores
    assert [scorer.score([item])[0] for item in items[-2:]] == scores[-2:]


def test_the_miniworlds_scorers_can_be_mixed():
    """Their folders bring the constants; the mix is the parts' own scores, standardised."""
    root = FOLDER.parent
    specs = {f"hpsv2={root / 'scorer'}": 0.7, f"aesthetic={root / 'aesthetic'}": 0.3}
    mix = load_scorer("weights:" + ",".join(f"{spec}={weight}" for spec, weight in specs.items()), chunk=2, threads=1)
    assert mix.name == "weights:hpsv2:miniworld/scorer=0.7,aesthetic:miniworld/aesthetic=0.3"
    rng = np.random.default_rng(0)
    items = [ScoreItem(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "a cat") for _ in range(2)]
    expected = [0.0, 0.0]
    for spec, weight in specs.items():
        name, _, folder = spec.partition("=")
        known = json.loads((Path(folder) / "reference.json").read_text())[name]
        for place, score in enumerate(load_scorer(spec, chunk=2, threads=1).score(items)):
            expected[place] += weight * (score.value - known["mean"]) / known["sd"]
    assert [score.value for score in mix.score(items)] == pytest.approx(expected)

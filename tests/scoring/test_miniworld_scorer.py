"""The shipped preference model through the same loader as the real HPSv2."""

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

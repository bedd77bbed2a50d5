"""The shipped pipeline through the same loader as any other."""

from pathlib import Path

import numpy as np
import pytest

from core.records import RenderRequest
from rendering import RenderSettings, load_renderer

FOLDER = Path(__file__).parents[2] / "miniworld" / "pipeline"
pytestmark = pytest.mark.slow


def pixels(results):
    return [np.asarray(result.image) for result in results]


def test_it_draws_by_its_own_defaults_independent_of_place_and_neighbours():
    renderer = load_renderer(str(FOLDER), RenderSettings(threads=2))
    assert renderer.settings["num_inference_steps"] == 8
    requests = [
        RenderRequest(f"a {colour} cat in a forest, sharp focus", i) for i, colour in enumerate(["red", "blue"])
    ]
    others = [RenderRequest(f"a boat {i}", 100 + i) for i in range(renderer.chunk - 2)]
    alone = pixels(renderer.render(requests))
    crowd = pixels(renderer.render([*others, *requests]))[-2:]
    assert alone[0].shape == (64, 64, 3)
    assert alone[0].std() > 5
    assert all(np.array_equal(a, b) for a, b in zip(alone, crowd, strict=True))

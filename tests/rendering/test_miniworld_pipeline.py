"""The shipped pipelines through the same loader as any other."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.records import RenderRequest
from rendering import RenderSettings, load_renderer

MINIWORLD = Path(__file__).parents[2] / "miniworld"
pytestmark = pytest.mark.slow


def pixels(results):
    return [np.asarray(result.image) for result in results]


@pytest.mark.parametrize("name", ["pipeline", "second_pipeline"])
def test_it_draws_by_its_own_defaults_independent_of_place_and_neighbours(name):
    folder = MINIWORLD / name
    renderer = load_renderer(str(folder), RenderSettings(threads=2))
    defaults = json.loads((folder / "render_defaults.json").read_text())
    assert renderer.settings["num_inference_steps"] == defaults["num_inference_steps"]
    requests = [
        RenderRequest(f"a {colour} cat in a forest, sharp focus", i) for i, colour in enumerate(["red", "blue"])
    ]
    others = [RenderRequest(f"a boat {i}", 100 + i) for i in range(renderer.chunk - 2)]
    alone = pixels(renderer.render(requests))
    crowd = pixels(renderer.render([*others, *requests]))[-2:]
    assert alone[0].shape == (64, 64, 3)
    assert alone[0].std() > 5
    assert all(np.array_equal(a, b) for a, b in zip(alone, crowd, strict=True))

"""What every renderer keeps, whatever draws: a pipeline in this process or a server."""

from collections.abc import Iterator

import numpy as np
import pytest

import rendering.comfyui
from core.interfaces import Renderer
from core.records import RenderRequest, UnreadEnd
from core.text import stable_json
from rendering import SERVERS, RenderSettings, load_renderer, render_key
from rendering.infotext import infotext
from tests.fixtures import render_servers
from tests.rendering.test_infotext import parse_as_a1111
from tests.rendering.tiny import save_tiny_pipeline

SETTINGS = RenderSettings(chunk=4, threads=1, steps=2, width=32, height=32)
REQUESTS = [RenderRequest(f"a {colour} cat", seed) for seed, colour in enumerate(["red", "blue", "gold", "green"])]


@pytest.fixture(scope="module", params=["diffusers", *SERVERS])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "diffusers":
        yield str(save_tiny_pipeline(tmp_path_factory.mktemp("pipelines") / "tiny"))
        return
    with pytest.MonkeyPatch.context() as patch, render_servers.SERVERS[request.param]() as server:
        patch.setattr(rendering.comfyui, "POLL_SECONDS", 0.01)
        yield f"{request.param}={server.url}"


@pytest.fixture(scope="module")
def renderer(source: str) -> Renderer:
    return load_renderer(source, SETTINGS)


def pixels(results):
    assert all(result.error == "" for result in results), results
    return [np.asarray(result.image) for result in results]


def same(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(pixels(left), pixels(right), strict=True))


def test_it_is_a_renderer_whose_settings_can_be_stored(renderer: Renderer, source: str) -> None:
    assert isinstance(renderer, Renderer)
    assert (renderer.name, renderer.chunk) == (source, 4)
    assert renderer.revision
    assert stable_json(dict(renderer.settings))
    assert isinstance(renderer.notes, tuple)
    assert renderer.window is None or renderer.window > 0
    assert {renderer.unread(text) for text in ("a cat", "", "\ud800")} == {UnreadEnd()}
    assert renderer.reads_negative
    assert renderer.settings.items() >= {"num_inference_steps": 2, "height": 32, "width": 32}.items()


def test_pictures_differ_by_prompt_and_seed_and_not_by_place(renderer: Renderer) -> None:
    drawn = renderer.render(REQUESTS)
    assert {picture.shape for picture in pixels(drawn)} == {(32, 32, 3)}
    assert len({picture.tobytes() for picture in pixels(drawn)}) == 4
    assert same(drawn, renderer.render(REQUESTS[::-1])[::-1])
    assert same(drawn[2:3], renderer.render([REQUESTS[2]]))
    other = renderer.render([RenderRequest(REQUESTS[0].prompt, 9)])
    assert not same(drawn[:1], other)


def test_negative_prompts_are_drawn(renderer: Renderer) -> None:
    plain, negative = pixels(renderer.render([REQUESTS[0], RenderRequest(REQUESTS[0].prompt, 0, "fog")]))
    assert not np.array_equal(plain, negative)


def test_no_requests_give_no_results_and_too_many_are_refused(renderer: Renderer) -> None:
    assert renderer.render([]) == []
    with pytest.raises(ValueError, match="5 requests for a chunk of 4"):
        renderer.render([REQUESTS[0]] * 5)


def test_an_invalid_prompt_fails_alone(renderer: Renderer) -> None:
    bad, good = renderer.render([RenderRequest("\ud800", 0), REQUESTS[0]])
    assert bad.image is None
    assert "not valid Unicode" in bad.error
    assert same([good], renderer.render(REQUESTS[:1]))


def test_loading_again_gives_the_same_keys_and_other_settings_others(renderer: Renderer, source: str) -> None:
    key = render_key(renderer, REQUESTS[0])
    assert render_key(load_renderer(source, SETTINGS), REQUESTS[0]) == key
    for change in ({"steps": 3}, {"guidance": 3.0}, {"width": 64}):
        settings = RenderSettings(**{"chunk": 4, "threads": 1, "steps": 2, "width": 32, "height": 32, **change})
        assert render_key(load_renderer(source, settings), REQUESTS[0]) != key


def test_its_pictures_are_described(renderer: Renderer) -> None:
    prompt, _, pairs = parse_as_a1111(infotext(renderer, REQUESTS[1], (32, 32)))
    assert prompt == "a blue cat"
    assert pairs.items() >= {"Steps": "2", "Seed": "1", "Size": "32x32"}.items()
    assert {"Sampler", "CFG scale", "Model", "Model hash"} <= set(pairs)

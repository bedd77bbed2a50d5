"""PNG text chunks, read back by A1111's own rule."""

import re

import numpy as np
import pytest
from PIL import Image

from core.records import RenderRequest
from rendering import ImageCache, render_key
from rendering.infotext import infotext, picture_texts
from tests.fakes import FakeRenderer

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""`re_param` of stable-diffusion-webui, modules/infotext_utils.py."""
KEY = "ab" + "0" * 30


def parse_as_a1111(text: str) -> tuple[str, str, dict[str, str]]:
    """Return prompt, negative prompt and parameters as `parse_generation_parameters` does."""
    *lines, last = text.strip().split("\n")
    if len(PAIR.findall(last)) < 3:
        lines, last = [*lines, last], ""
    prompt, negative, done = "", "", False
    for line in (line.strip() for line in lines):
        if line.startswith("Negative prompt:"):
            done, line = True, line[16:].strip()
        if done:
            negative += ("" if negative == "" else "\n") + line
        else:
            prompt += ("" if prompt == "" else "\n") + line
    return prompt, negative, dict(PAIR.findall(last))


def renderer(**changes: object) -> FakeRenderer:
    fake = FakeRenderer(name="/models/my, pipe", revision="0123456789abcdef", **changes)
    fake.settings |= {"num_inference_steps": 7, "guidance_scale": 2.0}
    fake.sampler = "DDIM"
    return fake


def test_a1111_reads_what_was_asked_for() -> None:
    text = infotext(renderer(), RenderRequest("a red cat, anime", 1, "blurry, fog"), (64, 32))
    assert text == (
        "a red cat, anime\nNegative prompt: blurry, fog\n"
        'Steps: 7, Sampler: DDIM, CFG scale: 2, Seed: 1, Size: 64x32, Model hash: 0123456789, Model: "my, pipe"'
    )
    prompt, negative, pairs = parse_as_a1111(text)
    assert (prompt, negative) == ("a red cat, anime", "blurry, fog")
    assert pairs.items() >= {"Steps": "7", "CFG scale": "2", "Seed": "1", "Size": "64x32"}.items()
    assert pairs["Model"] == '"my, pipe"'


def test_a_renderer_that_tells_little_is_still_read() -> None:
    prompt, negative, pairs = parse_as_a1111(infotext(FakeRenderer(), RenderRequest("two\nlines", 5), (8, 8)))
    assert (prompt, negative) == ("two\nlines", "")
    assert pairs == {"Seed": "5", "Size": "8x8", "Model hash": "1", "Model": "fake"}


@pytest.mark.parametrize("text", ["a cat", "eine Katze - 貓, 🐈", "nul \0 and \ud800 lone"])
def test_the_chunks_come_back_from_the_file(tmp_path, text: str) -> None:
    cache, request = ImageCache(tmp_path), RenderRequest(text, 3)
    image = Image.fromarray(np.full((8, 8, 3), 9, dtype=np.uint8))
    texts = picture_texts(renderer(), request, image.size, naive_prompt=text, instruction="r1c0")
    [path] = cache.put_many([(KEY, image)], {KEY: texts})
    assert cache.get(KEY) == path
    with Image.open(path) as stored:
        stored.load()
        found = dict(stored.text)
        assert np.array_equal(np.asarray(stored), np.asarray(image))
    assert set(found) == {"parameters", "naive_prompt", "instruction"}
    assert found["instruction"] == "r1c0"
    assert parse_as_a1111(found["parameters"])[2]["Seed"] == "3"
    if text.isprintable():
        assert found["naive_prompt"] == text
        assert parse_as_a1111(found["parameters"])[0] == text


def test_the_key_does_not_depend_on_the_chunks() -> None:
    plain, told = FakeRenderer(), FakeRenderer()
    told.sampler = "DDIM"
    request = RenderRequest("a cat", 1)
    assert render_key(plain, request) == render_key(told, request)

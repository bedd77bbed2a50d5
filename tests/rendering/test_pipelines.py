"""Stable Diffusion 1, SD-Turbo, SDXL, SD3 and FLUX, tiny and random, through the same renderer."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import BadInput
from core.records import RenderRequest, UnreadEnd
from rendering import RenderSettings, load_renderer, render_key
from rendering.infotext import infotext
from tests.fixtures.tiny_pipelines import PIPELINES, SIDE, save_pipeline

pytestmark = pytest.mark.slow

REQUESTS = [RenderRequest(f"a {colour} cat", seed) for seed, colour in enumerate(["red", "blue", "gold", "green"])]
FOG = replace(REQUESTS[0], negative_prompt="fog")
LONG = "a cat " + "far away " * 80


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipelines")
    return {name: save_pipeline(name, root / name) for name in PIPELINES}


@pytest.fixture(scope="session")
def renderers(folders):
    return {name: load_renderer(str(folder), RenderSettings(chunk=4, threads=1)) for name, folder in folders.items()}


@pytest.fixture(params=PIPELINES)
def name(request):
    return request.param


def load(folder, **settings):
    return load_renderer(str(folder), RenderSettings(**{"chunk": 4, "threads": 1, **settings}))


def pixels(results):
    assert all(result.error == "" for result in results), results
    return [np.asarray(result.image) for result in results]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(pixels(left), pixels(right), strict=True))


def test_each_draws_by_prompt_and_seed_whatever_the_place(renderers, name):
    renderer = renderers[name]
    drawn = renderer.render(REQUESTS)
    assert {picture.shape for picture in pixels(drawn)} == {(SIDE, SIDE, 3)}
    assert len({picture.tobytes() for picture in pixels(drawn)}) == 4
    assert same(drawn, renderer.render(REQUESTS))
    assert same(drawn, renderer.render(REQUESTS[::-1])[::-1])
    assert same(drawn[2:3], renderer.render([REQUESTS[2]]))
    other = [RenderRequest("a dog in the fog", 0)]
    assert not same(drawn[:1], renderer.render(other)), "the prompt counts"


def test_float64_is_identical_whatever_the_chunk_the_place_and_the_threads(folders, name):
    sizes = {chunk: load(folders[name], chunk=chunk, dtype="float64") for chunk in (1, 3, 4)}
    whole = sizes[4].render(REQUESTS)
    assert same(whole, [result for request in REQUESTS for result in sizes[1].render([request])])
    assert same(whole, [*sizes[3].render(REQUESTS[:3]), *sizes[3].render(REQUESTS[3:])])
    assert same(whole, sizes[4].render(REQUESTS[::-1])[::-1])
    two = load(folders[name], dtype="float64", threads=2)
    assert same(whole, two.render(REQUESTS))
    assert torch.get_num_threads() == 2


def test_float32_is_within_rounding_whatever_the_chunk(folders, renderers, name):
    alone = load(folders[name], chunk=1)
    for picture, other in zip(
        pixels(renderers[name].render(REQUESTS)),
        pixels([result for request in REQUESTS for result in alone.render([request])]),
        strict=True,
    ):
        assert np.abs(picture.astype(int) - other.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_draws_too(folders, name, dtype):
    renderer = load(folders[name], dtype=dtype, chunk=2)
    assert renderer.settings["dtype"] == dtype
    assert len({picture.tobytes() for picture in pixels(renderer.render(REQUESTS[:2]))}) == 2


def test_device_and_dtype_are_told_with_the_reason(renderers, name):
    assert renderers[name].notes[0] == "draws on cpu, float32: no CUDA device"


WINDOWS = {"sd1": 75, "sd-turbo": 75, "sdxl": 75, "sd3": 255, "flux": 511}


def test_what_no_encoder_reads_is_told_and_is_exactly_what_does_not_count(renderers, name):
    renderer = renderers[name]
    assert renderer.window == WINDOWS[name]
    end = renderer.unread(LONG)
    tail = end.text
    assert LONG.strip().endswith(tail)
    assert {renderer.unread(text) for text in ("a cat", "", "\ud800")} == {UnreadEnd()}
    assert renderer.unread(LONG.strip()).tokens == sum(character != " " for character in tail)
    letters = sum(character != " " for character in LONG.strip()[: -len(tail)]) if tail else 0
    assert (letters == renderer.window) if tail else (name == "flux"), "in these tokenizers a token is a letter"
    if tail:
        other = LONG.strip()[: -len(tail)] + "zzz zzz"
        assert same(renderer.render([RenderRequest(LONG, 0)]), renderer.render([RenderRequest(other, 0)]))
        read = "z" + LONG[1:]
        assert not same(renderer.render([RenderRequest(LONG, 0)]), renderer.render([RenderRequest(read, 0)]))


def test_looking_for_what_is_unread_leaves_the_pipelines_tokenizers_alone(renderers, name):
    """They hold truncation and padding as state, and another thread may be drawing."""
    renderer = renderers[name]
    renderer.render(REQUESTS[:1])
    numbers = [number for number in ("", "_2", "_3") if getattr(renderer._pipeline, f"text_encoder{number}", None)]
    tokenizers = [getattr(renderer._pipeline, f"tokenizer{number}").backend_tokenizer for number in numbers]
    before = [(tokenizer.truncation, tokenizer.padding) for tokenizer in tokenizers]
    renderer.unread(LONG)
    assert [(tokenizer.truncation, tokenizer.padding) for tokenizer in tokenizers] == before


def test_encoders_that_differ_are_told(renderers):
    assert renderers["sd3"].notes[1] == (
        "tokens of a prompt that are read: text_encoder 75, text_encoder_2 75, text_encoder_3 255; "
        "what only one of them reads counts as read"
    )
    assert "text_encoder 75, text_encoder_2 511" in renderers["flux"].notes[1]
    assert len(renderers["sdxl"].notes) == 1


def test_sd3_without_t5_reads_what_clip_reads(folders, tmp_path):
    copy = shutil.copytree(folders["sd3"], tmp_path / "sd3")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(
        json.dumps(index | {"text_encoder_3": [None, None], "tokenizer_3": [None, None]})
    )
    renderer = load(copy)
    assert renderer.window == 75
    assert len(pixels(renderer.render(REQUESTS))) == 4


def test_negative_prompts_count_where_they_are_read(folders, renderers, name):
    renderer = renderers[name]
    assert renderer.reads_negative is (name in ("sd1", "sdxl", "sd3"))
    plain, negative = renderer.render([REQUESTS[0], FOG])
    assert same([plain], [negative]) is not renderer.reads_negative
    assert same([negative], renderer.render([FOG])), "and do not depend on the neighbours"
    assert same([plain], renderer.render(REQUESTS[:1]))


def test_a_fixed_negative_prompt_comes_first_everywhere(folders, renderers):
    renderer = load(folders["sd1"], negative_prompt="blurry")
    assert same(
        renderer.render(REQUESTS[:1]), renderers["sd1"].render([replace(REQUESTS[0], negative_prompt="blurry")])
    )
    both = replace(REQUESTS[0], negative_prompt="blurry, fog")
    assert same(renderer.render([FOG]), renderers["sd1"].render([both]))
    assert "\nNegative prompt: blurry, fog\n" in infotext(renderer, FOG, (SIDE, SIDE))
    assert render_key(renderer, REQUESTS[0]) != render_key(renderers["sd1"], REQUESTS[0])
    assert len(renderer.notes) == 1


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sd-turbo", "guidance is 0, and only above 1 it has an effect"),
        ("flux", "render.true_guidance is 1, and only above 1 it has an effect"),
    ],
)
def test_a_fixed_negative_prompt_that_is_not_read_is_told(folders, name, why):
    renderer = load(folders[name], negative_prompt="blurry")
    assert renderer.notes[-1] == f"warning: render.negative_prompt is not read: {why}"
    assert "Negative prompt" not in infotext(renderer, FOG, (SIDE, SIDE))


def test_true_guidance_makes_flux_read_negative_prompts(folders, renderers):
    renderer = load(folders["flux"], true_guidance=4.0)
    assert renderer.reads_negative
    plain, negative = renderer.render([REQUESTS[0], FOG])
    assert not same([plain], [negative])
    assert not same([plain], renderers["flux"].render(REQUESTS[:1])), "guided without a negative prompt as well"
    with pytest.raises(BadInput, match=r"render.true_guidance: StableDiffusionPipeline has none; use guidance"):
        load(folders["sd1"], true_guidance=4.0)


def test_guidance_that_is_not_read_is_told(folders, tmp_path):
    copy = shutil.copytree(folders["flux"], tmp_path / "schnell")
    path = copy / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"guidance_embeds": False}))
    renderer = load(copy)
    assert "warning: render.guidance is not read: this model was trained without it" in renderer.notes
    assert "guidance_scale" not in renderer.settings
    assert len(pixels(renderer.render(REQUESTS))) == 4


@pytest.mark.parametrize(("name", "multiple"), [("sdxl", 8), ("sd3", 16), ("flux", 16)])
def test_sizes_that_a_pipeline_would_change_or_refuse_are_one_line(folders, name, multiple):
    with pytest.raises(BadInput, match=f"render width: got {SIDE + 4}, expected a multiple of {multiple}"):
        load(folders[name], width=SIDE + 4)


@pytest.mark.parametrize("sampler", ["DDIM", "EulerAncestralDiscreteScheduler", "LCM"])
def test_another_sampler_draws_other_pictures(folders, renderers, sampler):
    renderer = load(folders["sd-turbo"], sampler=sampler, steps=2)
    assert renderer.sampler == sampler.removesuffix("Scheduler")
    assert renderer._pipeline.scheduler.config.timestep_spacing == "trailing", "the folder's settings of it stay"
    assert not same(renderer.render(REQUESTS), load(folders["sd-turbo"], steps=2).render(REQUESTS))
    assert render_key(renderer, REQUESTS[0]) != render_key(renderers["sd-turbo"], REQUESTS[0])


@pytest.mark.parametrize(("name", "sampler"), [("sd1", "NoSuch"), ("sd1", "FlowMatchEulerDiscrete"), ("flux", "DDIM")])
def test_a_sampler_that_does_not_fit_is_one_line_with_those_that_do(folders, name, sampler):
    known = "DDIM, " if name == "sd1" else "FlowMatchEulerDiscrete"
    with pytest.raises(BadInput, match=f"render.sampler: got '{sampler}', expected a scheduler for .*{known}"):
        load(folders[name], sampler=sampler)


def test_sliced_attention_draws_the_same_within_rounding(folders, renderers):
    renderer = load(folders["sd1"], attention_slicing=True)
    for picture, other in zip(
        pixels(renderer.render(REQUESTS)), pixels(renderers["sd1"].render(REQUESTS)), strict=True
    ):
        assert np.abs(picture.astype(int) - other.astype(int)).max() <= 1
    assert render_key(renderer, REQUESTS[0]) != render_key(renderers["sd1"], REQUESTS[0])

"""The diffusers renderer on a tiny random Stable Diffusion."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from core.errors import BadInput
from core.interfaces import Renderer
from core.records import RenderRequest
from core.text import stable_json
from rendering import RenderSettings, load_renderer, render_key
from tests.rendering.tiny import save_tiny_pipeline

REQUESTS = [RenderRequest(f"a {colour} cat", seed) for seed, colour in enumerate(["red", "blue", "gold", "green"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_pipeline(tmp_path_factory.mktemp("pipelines") / "tiny")


@pytest.fixture(scope="module")
def renderer(folder):
    return load_renderer(str(folder), RenderSettings(chunk=4, threads=1))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def pixels(results):
    assert all(result.error == "" for result in results), results
    return [np.asarray(result.image) for result in results]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(pixels(left), pixels(right), strict=True))


def test_it_is_a_renderer_with_recorded_settings(renderer):
    assert isinstance(renderer, Renderer)
    assert stable_json(dict(renderer.settings))
    expected = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 32, "width": 32, "device": "cpu"}
    assert renderer.settings.items() >= {**expected, "dtype": "float32", "threads": 1}.items()


def test_pictures_have_the_size_and_differ_by_prompt_and_seed(renderer):
    first, other_prompt, other_seed = pixels(
        renderer.render([REQUESTS[0], RenderRequest("a dog", 0), RenderRequest(REQUESTS[0].prompt, 9)])
    )
    assert first.shape == (32, 32, 3)
    assert not np.array_equal(first, other_seed)
    assert not np.array_equal(first, other_prompt)


def test_rerun_and_reload_are_identical(folder, renderer):
    drawn = renderer.render(REQUESTS)
    assert same(drawn, renderer.render(REQUESTS))
    again = load_renderer(str(folder), RenderSettings(chunk=4, threads=1))
    assert same(drawn, again.render(REQUESTS))
    assert again.revision == renderer.revision
    assert again.settings == renderer.settings


def test_place_neighbours_and_padding_do_not_matter(renderer):
    drawn = renderer.render(REQUESTS)
    assert same(drawn, renderer.render(REQUESTS[::-1])[::-1])
    assert same(drawn[2:3], renderer.render([REQUESTS[2]]))
    assert same(drawn[1:3], renderer.render([REQUESTS[1], REQUESTS[2], RenderRequest("x " * 500, 77)])[:2])


def test_every_call_has_the_chunks_shape(renderer, monkeypatch):
    sizes = []
    encode = renderer._pipeline.encode_prompt
    monkeypatch.setattr(
        renderer._pipeline,
        "encode_prompt",
        lambda prompt, *a, **k: sizes.append(len(prompt)) or encode(prompt, *a, **k),
    )
    for n in (1, 3, 4):
        assert len(renderer.render(REQUESTS[:n])) == n
    assert sizes == [4, 4, 4]


def test_float64_is_identical_whatever_the_chunk(folder):
    sizes = {chunk: load_renderer(str(folder), RenderSettings(chunk=chunk, dtype="float64")) for chunk in (1, 3, 4)}
    whole = sizes[4].render(REQUESTS)
    assert same(whole, [result for request in REQUESTS for result in sizes[1].render([request])])
    assert same(whole, [*sizes[3].render(REQUESTS[:3]), *sizes[3].render(REQUESTS[3:])])


def test_threads_are_set_in_whichever_thread_draws(renderer):
    torch.set_num_threads(2)
    renderer.render(REQUESTS[:1])
    assert torch.get_num_threads() == 1


def test_negative_prompts_are_drawn(renderer):
    plain, negative = pixels(renderer.render([REQUESTS[0], dataclasses.replace(REQUESTS[0], negative_prompt="fog")]))
    assert not np.array_equal(plain, negative)


def test_no_requests_give_no_results_and_too_many_are_refused(renderer):
    assert renderer.render([]) == []
    with pytest.raises(ValueError, match="5 requests for a chunk of 4"):
        renderer.render([REQUESTS[0]] * 5)


def test_an_invalid_prompt_fails_alone(renderer):
    bad, good = renderer.render([RenderRequest("\ud800", 0), REQUESTS[0]])
    assert bad.image is None
    assert "not valid Unicode" in bad.error
    assert same([good], renderer.render(REQUESTS[:1]))


@pytest.mark.parametrize(("fill", "error"), [(float("nan"), "not finite"), (-2.0, "wholly black")])
def test_nan_and_black_pictures_are_errors(folder, fill, error):
    broken = load_renderer(str(folder), RenderSettings(chunk=2))
    layer = broken._pipeline.vae.decoder.layers[-1]
    torch.nn.init.constant_(layer.weight, 0.0)
    torch.nn.init.constant_(layer.bias, fill)
    for result in broken.render(REQUESTS[:2]):
        assert result.image is None
        assert error in result.error


OUT_OF_MEMORY = [torch.OutOfMemoryError("x"), RuntimeError("CUDA error: out of memory"), MemoryError()]


def little_memory(renderer, most, error=OUT_OF_MEMORY[0]):
    """Let the pipeline run out of memory above `most` pictures, and return the sizes it is asked for."""
    sizes, whole = [], renderer._pipeline

    def call(**arguments):
        sizes.append(len(arguments["prompt"]))
        if sizes[-1] > most:
            raise error
        return whole(**arguments)

    renderer._pipeline = call
    return sizes


@pytest.mark.slow
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_the_chunk_is_halved_when_memory_runs_out(folder, error):
    renderer = load_renderer(str(folder), RenderSettings(chunk=4, threads=1))
    sizes = little_memory(renderer, 1, error)
    drawn = renderer.render(REQUESTS)
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert renderer.chunk == 1
    small = load_renderer(str(folder), RenderSettings(chunk=1, threads=1))
    assert same(drawn, [result for request in REQUESTS for result in small.render([request])])
    assert render_key(renderer, REQUESTS[0]) == render_key(small, REQUESTS[0]), "the key says the chunk really used"
    renderer.render(REQUESTS[:1])
    assert sizes[-1] == 1, "it stays halved"


@pytest.mark.slow
def test_all_pictures_of_a_call_have_one_chunk_even_when_memory_runs_out_in_its_middle(folder):
    renderer = load_renderer(str(folder), RenderSettings(chunk=4, threads=1))
    whole, sizes = renderer._pipeline, []

    def call(**arguments):
        sizes.append(len(arguments["prompt"]))
        if sizes in ([4], [4, 2, 2]):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(**arguments)

    renderer._pipeline = call
    assert len(pixels(renderer.render(REQUESTS))) == 4
    assert sizes == [4, 2, 2, 1, 1, 1, 1]


@pytest.mark.slow
def test_no_memory_for_one_picture_is_an_error_of_each_request(folder):
    renderer = load_renderer(str(folder), RenderSettings(chunk=4, threads=1))
    little_memory(renderer, 0)
    results = renderer.render(REQUESTS[:2])
    assert ["out of memory even for one picture" in result.error for result in results] == [True, True]


def test_other_errors_are_not_taken_for_a_lack_of_memory(folder):
    renderer = load_renderer(str(folder), RenderSettings(chunk=4, threads=1))
    little_memory(renderer, 0, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        renderer.render(REQUESTS[:2])
    assert renderer.chunk == 4


def test_render_key_covers_all_that_changes_a_picture(folder, renderer, copy):
    keys = {render_key(renderer, request) for request in REQUESTS}
    assert len(keys) == 4
    assert render_key(load_renderer(str(copy), RenderSettings(chunk=4, threads=1)), REQUESTS[0]) in keys
    for change in ({"steps": 3}, {"guidance": 3.0}, {"chunk": 2}, {"threads": 2}, {"dtype": "float64"}, {"width": 64}):
        settings = RenderSettings(**{"chunk": 4, "threads": 1, **change})
        assert render_key(load_renderer(str(folder), settings), REQUESTS[0]) not in keys
    assert render_key(renderer, dataclasses.replace(REQUESTS[0], negative_prompt="fog")) not in keys


def test_other_weights_give_another_revision(renderer, tmp_path):
    other = load_renderer(str(save_tiny_pipeline(tmp_path / "other", seed=1)), RenderSettings(chunk=4, threads=1))
    assert other.revision != renderer.revision


def test_user_settings_win_and_pipeline_defaults_fill_the_rest(copy):
    (copy / "render_defaults.json").unlink()
    renderer = load_renderer(str(copy), RenderSettings(steps=1, width=64, height=32))
    assert renderer.settings["num_inference_steps"] == 1
    assert renderer.settings["guidance_scale"] == 7.5
    assert renderer.render(REQUESTS[:1])[0].image.size == (64, 32)


def edit_index(folder, **changes):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_allow_list_refuses_other_libraries(copy):
    edit_index(copy, vae=["os", "system"])
    with pytest.raises(BadInput, match=r"got library 'os', expected one of diffusers, miniworld.patch_vae"):
        load_renderer(str(copy))


def test_the_miniworlds_own_autoencoder_is_loaded_by_name(copy, monkeypatch):
    from miniworld.patch_vae import PatchVAE

    torch.manual_seed(0)
    shutil.rmtree(copy / "vae")
    PatchVAE(latent_channels=4, block_out_channels=(4, 4, 4, 4)).save_pretrained(copy / "vae")
    edit_index(copy, vae=["miniworld.patch_vae", "PatchVAE"])
    monkeypatch.delitem(sys.modules, "miniworld.patch_vae")
    renderer = load_renderer(str(copy), RenderSettings(chunk=2))
    assert pixels(renderer.render(REQUESTS[:2]))[0].shape == (32, 32, 3)


def test_code_in_a_folder_is_refused(copy):
    (copy / "unet" / "diffusers.py").write_text("raise SystemExit('ran')")
    with pytest.raises(BadInput, match="remote code is never run"):
        load_renderer(str(copy))


def test_auto_map_is_refused(copy):
    path = copy / "text_encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(BadInput, match="auto_map"):
        load_renderer(str(copy))


def test_a_safety_checker_is_not_loaded(copy):
    edit_index(copy, safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    assert load_renderer(str(copy), RenderSettings(chunk=1)).render(REQUESTS[:1])[0].error == ""


DAMAGE = {
    "no index": lambda f: (f / "model_index.json").unlink(),
    "broken index": lambda f: (f / "model_index.json").write_text("{"),
    "list index": lambda f: (f / "model_index.json").write_text("[]"),
    "odd class": lambda f: edit_index(f, _class_name=["pipeline", "X"]),
    "unknown pipeline": lambda f: edit_index(f, _class_name="NoSuchPipeline"),
    "not text to image": lambda f: edit_index(f, _class_name="StableDiffusionUpscalePipeline"),
    "unknown class": lambda f: edit_index(f, unet=["diffusers", "NoSuchModel"]),
    "a function": lambda f: edit_index(f, unet=["transformers", "pipeline"]),
    "no component": lambda f: shutil.rmtree(f / "unet"),
    "no weights": lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
    "truncated weights": lambda f: truncate(f / "unet" / "diffusion_pytorch_model.safetensors"),
    "zero-length weights": lambda f: (f / "text_encoder" / "model.safetensors").write_bytes(b""),
    "broken config": lambda f: (f / "vae" / "config.json").write_text("{"),
    "broken tokenizer": lambda f: (f / "tokenizer" / "tokenizer.json").write_text('{"a": 1}'),
    "broken defaults": lambda f: (f / "render_defaults.json").write_text("{"),
    "unknown default": lambda f: (f / "render_defaults.json").write_text('{"cfg": 3}'),
    "bad default": lambda f: (f / "render_defaults.json").write_text('{"num_inference_steps": 0}'),
    "pickled weights": lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").rename(
        f / "unet" / "diffusion_pytorch_model.bin"
    ),
}


def truncate(path):
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_folders_are_one_line_errors(copy, damage):
    DAMAGE[damage](copy)
    with pytest.raises(BadInput, match=r"got .*expected .*") as caught:
        load_renderer(str(copy))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_an_unreachable_hub_model_are_one_line_errors(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="got no folder"):
        load_renderer(str(tmp_path / "nowhere"))

    def offline(*args, **kwargs):
        raise OSError("offline\nand more")

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", offline)
    with pytest.raises(BadInput, match="neither a local folder nor a model in the hub cache") as caught:
        load_renderer("no-such-org/no-such-model")
    assert "\n" not in str(caught.value)


def test_a_hub_id_is_fetched_at_its_revision_and_pinned_to_the_commit(folder, tmp_path, monkeypatch):
    snapshot = shutil.copytree(folder, tmp_path / "snapshots" / ("a1" * 20))
    asked = []

    def download(repo, revision, use_safetensors):
        asked.append((repo, revision, use_safetensors))
        return str(snapshot)

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", download)
    renderer = load_renderer("org/name@v1.0", RenderSettings(chunk=1))
    assert asked == [("org/name", "v1.0", True)]
    assert (renderer.name, renderer.revision) == ("org/name@v1.0", "a1" * 20)
    assert renderer.render(REQUESTS[:1])[0].error == ""


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"steps": 0}, "render steps: got 0"),
        ({"chunk": None}, "render chunk: got None"),
        ({"threads": -1}, "render threads"),
        ({"width": 1.5}, "render width: got 1.5"),
        ({"guidance": float("nan")}, "render guidance: got nan"),
        ({"device": "tpu"}, "render device: got 'tpu'"),
        ({"dtype": "int8"}, "render dtype: got 'int8'"),
        ({"offload": "disk"}, "render offload: got 'disk', expected one of none, model, sequential"),
        ({"lora_scale": 11}, "render lora_scale: got 11"),
        ({"true_guidance": -1.0}, "render true_guidance: got -1.0"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(BadInput, match=message):
        RenderSettings(**bad)


def test_sizes_and_devices_that_cannot_be_are_refused(folder):
    with pytest.raises(BadInput, match="multiple of 8"):
        load_renderer(str(folder), RenderSettings(width=30))
    with pytest.raises(BadInput, match="expected a device of this machine"):
        load_renderer(str(folder), RenderSettings(device="cuda:99"))


def test_importing_the_package_imports_no_torch():
    code = "import sys, rendering; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

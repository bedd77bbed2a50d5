"""LoRA weights on tiny pipelines: they change pictures as peft itself would, and every wrong file is one line."""

import numpy as np
import pytest
import torch

from core.errors import BadInput
from core.records import RenderRequest
from rendering import RenderSettings, load_renderer, render_key
from tests.fixtures.tiny_pipelines import save_pipeline

pytestmark = pytest.mark.slow
peft = pytest.importorskip("peft")

REQUEST = RenderRequest("a red cat", 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_pipeline("sd1", tmp_path_factory.mktemp("lora") / "sd1")


@pytest.fixture(scope="module")
def weights(folder, tmp_path_factory):
    """LoRA weights with both factors random, in diffusers' own file format."""
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    unet = load_renderer(str(folder), RenderSettings())._pipeline.unet
    unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights="gaussian"))
    state = {key: torch.randn_like(value) for key, value in get_peft_model_state_dict(unet).items()}
    path = tmp_path_factory.mktemp("weights")
    StableDiffusionPipeline.save_lora_weights(path, unet_lora_layers=state, safe_serialization=True)
    return path / "pytorch_lora_weights.safetensors"


def load(folder, **settings):
    return load_renderer(str(folder), RenderSettings(chunk=1, threads=1, dtype="float64", **settings))


def picture(renderer, request=REQUEST):
    [result] = renderer.render([request])
    assert result.error == ""
    return np.asarray(result.image).astype(int)


def test_it_changes_pictures_by_its_scale_and_is_part_of_their_identity(folder, weights):
    plain, half = load(folder), load(folder, lora=str(weights), lora_scale=0.5)
    whole, none = load(folder, lora=str(weights)), load(folder, lora=str(weights), lora_scale=0.0)
    assert np.array_equal(picture(plain), picture(none))
    drawn = [picture(renderer) for renderer in (plain, half, whole)]
    assert [np.abs(a - b).mean() > 0.1 for a, b in zip(drawn, [*drawn[1:], drawn[0]], strict=True)] == [True] * 3
    keys = {render_key(renderer, REQUEST) for renderer in (plain, half, whole, none)}
    assert len(keys) == 4
    assert set(whole.settings["lora"]) == {"digest", "scale"}
    assert render_key(load(folder, lora=str(weights)), REQUEST) in keys


def test_it_draws_what_peft_draws_without_fusing(folder, weights):
    unfused = load(folder)
    unfused._pipeline.load_lora_weights(str(weights.parent), weight_name=weights.name)
    assert np.abs(picture(unfused) - picture(load(folder, lora=str(weights)))).max() <= 1


def test_the_one_file_of_a_hub_id_is_taken(folder, weights, monkeypatch):
    asked = []

    def download(repo, revision, allow_patterns):
        asked.append((repo, revision))
        return str(weights.parent)

    monkeypatch.setattr("rendering.lora.snapshot_download", download)
    renderer = load(folder, lora="org/style@v1")
    assert asked == [("org/style", "v1")]
    assert render_key(renderer, REQUEST) == render_key(load(folder, lora=str(weights)), REQUEST)


def test_files_that_cannot_be_used_are_one_line(folder, weights, tmp_path, monkeypatch):
    (tmp_path / "a.safetensors").write_bytes(b"not weights")
    (tmp_path / "b.bin").write_bytes(b"")
    save_other(tmp_path / "c.safetensors", "text_encoder_9.x.lora_A.weight")
    cases = {
        str(tmp_path / "a.safetensors"): "got a file that does not load",
        str(tmp_path / "b.bin"): r"got \.bin, expected a \.safetensors file",
        str(tmp_path / "none.safetensors"): r"got no such file, expected a \.safetensors file or a hub id",
        str(tmp_path / "c.safetensors"): "nothing in it is for StableDiffusionPipeline|does not load",
    }
    for source, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            load(folder, lora=source)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr("rendering.lora.snapshot_download", lambda *a, **k: str(tmp_path))
    with pytest.raises(BadInput, match=r"got 2 \.safetensors files \(a.safetensors, c.safetensors\), expected one"):
        load(folder, lora="org/style")


def save_other(path, key):
    from safetensors.torch import save_file

    save_file({key: torch.zeros(2, 2)}, path)


def test_without_peft_it_says_what_to_install(folder, weights, monkeypatch):
    monkeypatch.setattr("rendering.lora.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"render.lora needs the library peft: pip install 'brushup\[lora\]'"):
        load(folder, lora=str(weights))

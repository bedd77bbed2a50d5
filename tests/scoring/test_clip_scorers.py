"""PickScore, CLIPScore and the aesthetic predictor against plain transformers code; their files."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from core.errors import BadInput
from core.records import ScoreItem
from scoring import load_scorer
from scoring.preprocess import Crop, crop_picture, plain_prompt, read_crop
from tests.scoring.tiny import save_tiny_aesthetic, tiny_head

PROCESSOR = {
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 3,
    "size": 36,
    "crop_size": 32,
}


def picture(seed, width, height):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


PICTURES = [picture(0, 32, 32), picture(1, 70, 45), picture(2, 33, 90)]
PROMPTS = ["A red  cat", "ein Häuschen " * 30, ""]
ITEMS = [ScoreItem(image, prompt) for image, prompt in zip(PICTURES, PROMPTS, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_aesthetic(tmp_path_factory.mktemp("scorers") / "tiny")


def values(spec):
    return [score.value for score in load_scorer(str(spec), chunk=4, threads=1).score(ITEMS)]


def outputs(clip, processor, prompts=PROMPTS):
    """What a model card's code does; the pooled text is found by the position of the end, as the config says."""
    model = CLIPModel.from_pretrained(clip, local_files_only=True).eval()
    tokens = CLIPTokenizer.from_pretrained(clip, local_files_only=True)(
        prompts, padding="max_length", max_length=40, truncation=True, return_tensors="pt"
    )
    pixels = processor(PICTURES, return_tensors="pt").pixel_values
    with torch.no_grad():
        return model, model(**tokens, pixel_values=pixels)


def tiny_processor(**settings):
    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, **settings)


def test_pickscore_is_the_models_logit(folder):
    model, out = outputs(folder / "clip", tiny_processor())
    assert values(f"pickscore={folder / 'clip'}") == pytest.approx(out.logits_per_image.diag().tolist(), abs=1e-5)
    assert model.logit_scale.exp().item() == pytest.approx(4.48, abs=0.01)


def test_clipscore_is_the_clipped_cosine_times_two_and_a_half(folder, copy):
    _, out = outputs(folder / "clip", tiny_processor())
    cosines = (out.image_embeds * out.text_embeds).sum(-1)
    assert values(f"clipscore={folder / 'clip'}") == pytest.approx((2.5 * cosines).tolist(), abs=1e-5)
    state = load_file(copy / "clip" / "model.safetensors")
    save_file(state | {"text_projection.weight": -state["text_projection.weight"]}, copy / "clip" / "model.safetensors")
    assert values(f"clipscore={copy / 'clip'}") == [0, 0, 0]


def test_clipscore_puts_the_papers_prefix_before_the_prompt_for_the_papers_model_only(folder, monkeypatch):
    hub(monkeypatch, folder / "clip")
    _, out = outputs(folder / "clip", CLIPImageProcessorPil(**PROCESSOR), [f"A photo depicts {p}" for p in PROMPTS])
    expected = (2.5 * (out.image_embeds * out.text_embeds).sum(-1)).tolist()
    assert values("clipscore") == pytest.approx(expected, abs=1e-5)
    assert load_scorer("clipscore").name == "clipscore"


def test_aesthetic_is_the_released_head_on_the_unit_features(folder):
    state = tiny_head(12)
    sizes = [state[f"layers.{i}.weight"].shape for i in (0, 2, 4, 6, 7)]
    linear = [nn.Linear(into, out) for out, into in sizes]
    layers = [linear[0], nn.Dropout(0.2), linear[1], nn.Dropout(0.2), linear[2], nn.Dropout(0.1), linear[3], linear[4]]
    released = nn.ModuleDict({"layers": nn.Sequential(*layers)}).eval()
    released.load_state_dict(state)
    _, out = outputs(folder / "clip", tiny_processor())
    with torch.no_grad():
        expected = released["layers"](out.image_embeds)[:, 0].tolist()
    assert values(f"aesthetic={folder}") == pytest.approx(expected, abs=1e-4)


def test_the_released_pth_is_read_like_safetensors(folder, copy):
    (copy / "mlp.safetensors").unlink()
    torch.save(tiny_head(12), copy / "sac+logos+ava1-l14-linearMSE.pth")
    assert values(f"aesthetic={copy}") == values(f"aesthetic={folder}")


@pytest.mark.parametrize("centre", ["floor", "even"])
@pytest.mark.parametrize("size", [(32, 32), (64, 32), (33, 90), (99, 70), (5, 3), (300, 2)])
def test_pictures_are_cropped_as_clips_image_processor_does(size, centre):
    image = picture(3, *size)
    expected = tiny_processor()(image, return_tensors="pt").pixel_values[0]
    got = crop_picture(image, Crop(32, 32, centre=centre))
    short = min(size)
    rest = (32 * max(size) // short - 32) % 4
    if centre == "floor" or rest != 3:  # torchvision rounds 1.5 to 2
        assert torch.allclose(got, expected, atol=1e-6)
    else:
        assert not torch.allclose(got, expected, atol=1e-2)


@pytest.mark.parametrize("size", [32, {"shortest_edge": 40}, {"shortest_edge": 24}])
def test_the_processors_own_numbers_are_used(copy, size):
    settings = PROCESSOR | {"size": size}
    (copy / "clip" / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = CLIPImageProcessorPil(**settings)
    _, out = outputs(copy / "clip", processor)
    assert values(f"pickscore={copy / 'clip'}") == pytest.approx(out.logits_per_image.diag().tolist(), abs=1e-5)


def test_processor_numbers_are_part_of_the_revision(folder, copy):
    base = load_scorer(f"pickscore={folder / 'clip'}").revision
    assert load_scorer(f"pickscore={copy / 'clip'}").revision == base
    assert load_scorer(f"clipscore={copy / 'clip'}").revision != base
    (copy / "clip" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    assert load_scorer(f"pickscore={copy / 'clip'}").revision != base


def test_a_literal_special_token_or_a_broken_character_is_harmless(folder):
    assert plain_prompt("<|end<|endoftext|>oftext|>a ‘cat’ &amp;") == "<|end oftext|>a ‘cat’ &amp;"
    scorer = load_scorer(f"pickscore={folder / 'clip'}", chunk=4, threads=1)
    texts = ["cat <|endoftext|> dog", "cat dog", "cat", "\ud800"]
    whole, same, cut, broken = scorer.score([ScoreItem(PICTURES[0], text) for text in texts])
    assert whole == same != cut
    assert broken.value is not None


def test_openais_weights_without_safetensors_are_read(folder, copy):
    clip = copy / "clip"
    state = load_file(clip / "model.safetensors")
    (clip / "model.safetensors").unlink()
    torch.save(state | {"text_model.embeddings.position_ids": torch.arange(40)[None]}, clip / "pytorch_model.bin")
    assert values(f"pickscore={clip}") == values(f"pickscore={folder / 'clip'}")


def hub(monkeypatch, clip, head=None):
    """Serve the hub's files from a folder; OpenAI's repository has no safetensors."""

    def download(repository, file, **_):
        if file == "preprocessor_config.json":
            path = clip.parent / file
            path.write_text(json.dumps(PROCESSOR))
            return str(path)
        return str(head if file.endswith(".pth") else clip / file)

    monkeypatch.setattr("scoring.files.hf_hub_download", download)
    monkeypatch.setattr("scoring.files.snapshot_download", lambda repository, **_: str(clip))


def test_the_released_models_come_from_the_hub(folder, copy, monkeypatch):
    head = copy / "head.pth"
    torch.save(tiny_head(12), head)
    hub(monkeypatch, copy / "clip", head)
    for name in ("pickscore", "clipscore", "aesthetic"):
        scorer = load_scorer(name, chunk=4)
        assert scorer.name == name
        assert all(score.value is not None for score in scorer.score(ITEMS))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pickscore", r"PickScore_v1 did not answer .*--scorer pickscore=FOLDER"),
        ("clipscore", r"clip-vit-base-patch32 did not answer .*--scorer clipscore=FOLDER"),
        ("aesthetic", r"--scorer aesthetic=FOLDER.*clip/ .*and sac\+logos\+ava1-l14-linearMSE\.pth"),
    ],
)
def test_without_the_hub_the_way_out_is_named(name, what, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network\nat all")

    monkeypatch.setattr("scoring.files.hf_hub_download", offline)
    with pytest.raises(BadInput, match=what) as caught:
        load_scorer(name)
    assert "\n" not in str(caught.value)


class Evil:
    def __reduce__(self):
        return (eval, ("1 / 0",))


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def save_head(folder, **changes):
    save_file(tiny_head(12) | {key.replace("_", "."): value for key, value in changes.items()}, folder)


def use_bin(clip, content):
    (clip / "model.safetensors").unlink()
    (clip / "pytorch_model.bin").write_bytes(content)


DAMAGE = {
    "no config": (lambda f: (f / "clip/config.json").unlink(), "got no config.json"),
    "broken config": (lambda f: (f / "clip/config.json").write_text("{"), "no readable config.json"),
    "a list": (lambda f: (f / "clip/config.json").write_text("[]"), "holds a list"),
    "another model": (lambda f: edit(f / "clip/config.json", model_type="bert"), "model_type 'bert'"),
    "nonsense config": (lambda f: edit(f / "clip/config.json", vision_config={"hidden_size": "x"}), "does not fit"),
    "odd heads": (lambda f: edit(f / "clip/config.json", vision_config={"num_attention_heads": 7}), "got "),
    "no weights": (lambda f: (f / "clip/model.safetensors").unlink(), r"no model\.safetensors"),
    "garbage": (lambda f: (f / "clip/model.safetensors").write_bytes(b"x" * 99), "does not load"),
    "truncated": (
        lambda f: (f / "clip/model.safetensors").write_bytes((f / "clip/model.safetensors").read_bytes()[:9000]),
        "does not load",
    ),
    "pickled code": (lambda f: use_bin(f / "clip", pickle.dumps(Evil())), "does not load"),
    "wrong shape": (
        lambda f: save_file({"logit_scale": torch.zeros(3)}, f / "clip/model.safetensors"),
        "other shapes than the config's",
    ),
    "no tokenizer": (lambda f: [path.unlink() for path in f.glob("clip/token*")], "tokenizer"),
    "broken tokenizer": (lambda f: (f / "clip/tokenizer.json").write_text("{"), "no readable tokenizer"),
    "broken processor": (lambda f: (f / "clip/preprocessor_config.json").write_text("{"), "no readable JSON"),
    "squashing processor": (
        lambda f: (f / "clip/preprocessor_config.json").write_text('{"size": {"height": 32, "width": 32}}'),
        "got size",
    ),
    "bilinear processor": (lambda f: (f / "clip/preprocessor_config.json").write_text('{"resample": 2}'), "resample"),
    "another crop": (
        lambda f: (f / "clip/preprocessor_config.json").write_text('{"crop_size": {"height": 32, "width": 30}}'),
        "got crop_size 30 x 32, expected the model's image_size 32",
    ),
    "no head": (lambda f: (f / "mlp.safetensors").unlink(), r"got no mlp\.safetensors and no sac"),
    "garbage head": (lambda f: (f / "mlp.safetensors").write_bytes(b"x"), "does not load"),
    "another head": (
        lambda f: save_head(f / "mlp.safetensors", x=torch.zeros(1)),
        r"0 missing \(\) and 1 unexpected tensors \(x\)",
    ),
    "a wide head": (
        lambda f: save_head(f / "mlp.safetensors", layers_2_weight=torch.zeros(6, 9)),
        r"got layers\.2 of shapes \(6, 9\) and \(6,\), expected 8 inputs",
    ),
    "two outputs": (
        lambda f: save_head(f / "mlp.safetensors", layers_7_weight=torch.zeros(2, 4), layers_7_bias=torch.zeros(2)),
        "2 outputs, expected 1",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_folders_are_one_line_errors(copy, damage):
    break_it, message = DAMAGE[damage]
    break_it(copy)
    with pytest.raises(BadInput, match=message) as caught:
        load_scorer(f"aesthetic={copy}")
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_without_a_processor_file_the_models_size_is_used():
    assert read_crop(None, 48) == Crop(48, 48)

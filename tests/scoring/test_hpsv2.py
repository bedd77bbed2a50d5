"""HPSv2: the conversion from open_clip's layout, the preprocessing, the files."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import BadInput
from core.records import ScoreItem
from scoring import load_scorer
from scoring.open_clip_layout import (
    VIT_H_14,
    OpenClipConfig,
    from_open_clip_state_dict,
    to_open_clip_state_dict,
)
from scoring.preprocess import MEAN, STD, clean_prompt, letterbox
from tests.rendering.tiny import tiny_tokenizer
from tests.scoring.tiny import CONFIG, save_tiny_scorer, tiny_clip

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_scorer(tmp_path_factory.mktemp("scorers") / "tiny")


def test_conversion_round_trip_is_exact():
    model = tiny_clip()
    back = from_open_clip_state_dict(to_open_clip_state_dict(model), OpenClipConfig.model_validate(CONFIG))
    assert set(back) == set(model.state_dict())
    assert all(torch.equal(back[name], tensor) for name, tensor in model.state_dict().items())


def test_features_are_those_of_transformers_and_of_open_clips_formula(folder):
    """The loaded model against the original, and its first block against a plain reading of open_clip's code."""
    scorer, model = load_scorer(str(folder), chunk=2), tiny_clip()
    ids = tiny_tokenizer(40)("a red cat", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        text = model.get_text_features(input_ids=ids).pooler_output[0]
        image = model.get_image_features(pixel_values=letterbox(PICTURE, 32)[None]).pooler_output[0]
        cosine = torch.nn.functional.cosine_similarity(image, text, dim=0).item()
    assert scorer.score([ScoreItem(PICTURE, "A  red cat ")])[0].value == pytest.approx(cosine, abs=1e-6)

    state = to_open_clip_state_dict(model)
    hidden = torch.randn(5, 1, 24, generator=torch.Generator().manual_seed(0))
    prefix = "visual.transformer.resblocks.0"
    attention = torch.nn.MultiheadAttention(24, 2)
    attention.load_state_dict(
        {k.removeprefix(f"{prefix}.attn."): v for k, v in state.items() if f"{prefix}.attn." in k}
    )
    normed = norm(hidden, state, f"{prefix}.ln_1")
    with torch.no_grad():
        expected = hidden + attention(normed, normed, normed)[0]
        inner = linear(norm(expected, state, f"{prefix}.ln_2"), state, f"{prefix}.mlp.c_fc")
        expected = expected + linear(torch.nn.functional.gelu(inner), state, f"{prefix}.mlp.c_proj")
        got = scorer._model.vision_model.encoder.layers[0](hidden.transpose(0, 1), attention_mask=None)
        got = got if isinstance(got, torch.Tensor) else got[0]
    assert torch.allclose(got.transpose(0, 1), expected, atol=1e-5)


def norm(x, state, name):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def linear(x, state, name):
    return torch.nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def test_the_built_in_architecture_has_vit_h_14s_size():
    """986.1 M parameters (dependencies.md, 2), counted without allocating them."""
    from transformers import CLIPModel

    with torch.device("meta"):
        model = CLIPModel(VIT_H_14.to_transformers())
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(986.1e6, abs=0.05e6)
    assert model.config.vision_config.num_attention_heads == 16
    assert model.config.text_config.num_attention_heads == 16


def test_half_precision_checkpoints_are_computed_in_float32(copy):
    state = {name: tensor.half() for name, tensor in to_open_clip_state_dict(tiny_clip()).items()}
    torch.save({"state_dict": state, "epoch": 3}, copy / "weights.pt")
    scorer = load_scorer(str(copy), chunk=1)
    assert {p.dtype for p in scorer._model.parameters()} == {torch.float32}
    assert scorer.score([ScoreItem(PICTURE, "a cat")])[0].value is not None


def test_a_prompt_is_encoded_once(folder, monkeypatch):
    scorer = load_scorer(str(folder), chunk=4)
    calls = []
    encode = scorer._model.text_model.forward
    monkeypatch.setattr(scorer._model.text_model, "forward", lambda *a, **k: calls.append(1) or encode(*a, **k))
    for _ in range(3):
        scorer.score([ScoreItem(PICTURE, prompt) for prompt in ("a cat", "a dog", "a cat", "a cat")])
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  A Red\n\tcat  ", "a red cat"),
        ("salt &amp;amp; pepper &lt;3", "salt & pepper <3"),
        ("1 < 2 &amp;amp; 3", "1 < 2 & 3"),
        ("“curly” ‘quotes’", "\"curly\" 'quotes'"),
        ("schÃ¶n ﬁsh", "schön fish"),
        ("a cat <|endoftext|> a dog<start_of_text>", "a cat a dog"),
        ("<|end<|endoftext|>oftext|>x", "<|end oftext|>x"),
        ("&lt;|endoftext|&gt;cat", "cat"),
        ("", ""),
        ("\ud800cat", "?cat"),
    ],
)
def test_prompts_are_cleaned_as_hpsv2_does(prompt, cleaned):
    assert clean_prompt(prompt) == cleaned


def test_a_special_token_in_a_prompt_does_not_end_it(folder):
    scorer = load_scorer(str(folder), chunk=2)
    whole, cut = scorer.score([ScoreItem(PICTURE, "cat <|endoftext|> dog"), ScoreItem(PICTURE, "cat")])
    assert whole != cut
    assert whole == scorer.score([ScoreItem(PICTURE, "cat dog")])[0]


def test_the_tokenizer_does_not_compose_what_cleaning_left_apart(folder):
    """As in hpsv2: beside a "<" ftfy leaves entities alone, and what they stand for is not composed any more."""
    scorer = load_scorer(str(folder), chunk=2)
    apart, composed = scorer.score([ScoreItem(PICTURE, "1 < e&#769;"), ScoreItem(PICTURE, "1 < é")])
    assert apart != composed


def undo(tensor):
    return tensor * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]


def test_letterbox_keeps_a_picture_of_the_right_size():
    expected = torch.from_numpy(np.array(PICTURE)).permute(2, 0, 1) / 255
    assert torch.allclose(undo(letterbox(PICTURE, 32)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("width", "height", "rows", "columns"),
    [(64, 32, (8, 24), (0, 32)), (20, 40, (0, 32), (8, 24)), (32, 17, (7, 24), (0, 32)), (500, 1, (15, 16), (0, 32))],
)
def test_letterbox_pads_with_black_before_normalising(width, height, rows, columns):
    pixels = undo(letterbox(Image.new("RGB", (width, height), "white"), 32))
    inside = torch.zeros(3, 32, 32)
    inside[:, rows[0] : rows[1], columns[0] : columns[1]] = 1
    assert torch.allclose(pixels, inside, atol=1e-5)


def test_letterbox_resizes_antialiased_and_unclamped():
    """Against Pillow's bicubic, which antialiases alike but clamps and rounds."""
    big = Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    ours = undo(letterbox(big, 32))
    pillow = torch.from_numpy(np.array(big.resize((32, 32), Image.Resampling.BICUBIC))).permute(2, 0, 1) / 255
    assert torch.allclose(ours, pillow, atol=2 / 255)
    edge = Image.fromarray(np.repeat(np.arange(64)[None, :] // 32 * 255, 64, 0).astype(np.uint8)).convert("RGB")
    assert undo(letterbox(edge, 128)).max() > 1.01


def save_state(folder, change):
    state = to_open_clip_state_dict(tiny_clip())
    change(state)
    torch.save({"state_dict": state}, folder / "weights.pt")


class Evil:
    def __reduce__(self):
        return (eval, ("1 / 0",))


def edit_config(folder, **changes):
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))


DAMAGE = {
    "no config": (lambda f: (f / "config.json").unlink(), r"no readable config\.json"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), r"no readable config\.json"),
    "unknown config key": (lambda f: edit_config(f, heads=3), "got heads: Extra inputs"),
    "zero layers": (lambda f: edit_config(f, embed_dim=0), "got embed_dim"),
    "no weights": (lambda f: (f / "weights.pt").unlink(), "got a file that does not load"),
    "garbage weights": (lambda f: (f / "weights.pt").write_bytes(b"garbage" * 99), "got a file that does not load"),
    "empty weights": (lambda f: (f / "weights.pt").write_bytes(b""), "got a file that does not load"),
    "truncated weights": (
        lambda f: (f / "weights.pt").write_bytes((f / "weights.pt").read_bytes()[:9000]),
        "got a file that does not load",
    ),
    "pickled code": (lambda f: (f / "weights.pt").write_bytes(pickle.dumps(Evil())), "got a file that does not load"),
    "torch code": (lambda f: torch.save({"state_dict": Evil()}, f / "weights.pt"), "got a file that does not load"),
    "no state_dict": (lambda f: torch.save({"model": {}}, f / "weights.pt"), "without tensors under 'state_dict'"),
    "missing": (
        lambda f: save_state(f, lambda s: s.pop("visual.proj")),
        r"1 missing tensors \(visual\.proj\) and 0 unexpected tensors",
    ),
    "unexpected": (
        lambda f: save_state(f, lambda s: s.update({f"x{i}": torch.zeros(1) for i in range(5)})),
        r"0 missing tensors and 5 unexpected tensors \(x0, x1, x2, \.\.\.\)",
    ),
    "wrong shape": (lambda f: save_state(f, lambda s: s.update({"visual.proj": torch.zeros(3, 3)})), "other shapes"),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("token*")], "tokenizer"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "no readable tokenizer"),
    "other tokenizer": (
        lambda f: edit_config(f, text_cfg=CONFIG["text_cfg"] | {"vocab_size": 600}),
        "tokenizer of 514 tokens",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_folders_are_one_line_errors(copy, damage):
    break_it, message = DAMAGE[damage]
    break_it(copy)
    with pytest.raises(BadInput, match=message) as caught:
        load_scorer(str(copy))
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_other_weights_or_tokenizer_give_another_revision(folder, copy):
    same = load_scorer(str(folder)).revision
    assert load_scorer(str(copy)).revision == same
    save_state(copy, lambda s: s["logit_scale"].add_(1))
    assert load_scorer(str(copy)).revision != same


@pytest.mark.parametrize("name", ["hpsv2.0", "hpsv2.1"])
def test_a_release_that_is_not_cached_names_the_way_out_offline(name, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network\nat all")

    monkeypatch.setattr("scoring.files.hf_hub_download", offline)
    with pytest.raises(BadInput, match=rf"scorer {name}: got no HPS_v2.*--scorer {name}=FILE") as caught:
        load_scorer(name)
    assert "\n" not in str(caught.value)


def test_a_release_finds_its_weights_and_tokenizer_in_the_hub_cache(folder, tmp_path, monkeypatch):
    weights = shutil.copy(folder / "weights.pt", tmp_path)
    monkeypatch.setattr("scoring.hpsv2.VIT_H_14", OpenClipConfig.model_validate(CONFIG))
    monkeypatch.setattr("scoring.files.hf_hub_download", lambda repo, file, **_: weights)
    monkeypatch.setattr("scoring.files.snapshot_download", lambda repo, **_: str(folder))
    scorer = load_scorer("hpsv2.1", chunk=2)
    assert scorer.name == "hpsv2.1"
    assert scorer.score([ScoreItem(PICTURE, "a cat")]) == load_scorer(str(folder), chunk=2).score(
        [ScoreItem(PICTURE, "a cat")]
    )

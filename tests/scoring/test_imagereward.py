"""ImageReward against a plain reading of the original BLIP code, under the original names; its files."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import conv2d, embedding, gelu, layer_norm, linear
from transformers import BertTokenizer, BlipTextModel, BlipVisionModel

from core.errors import BadInput
from core.records import ScoreItem
from scoring import load_scorer
from scoring.blip_layout import from_image_reward_state_dict, image_reward_shape, to_image_reward_state_dict
from scoring.head import POSITIONS
from scoring.preprocess import Crop, crop_picture
from tests.rendering.tiny import tiny_tokenizer
from tests.scoring.tiny import IMAGE_REWARD, save_tiny_image_reward, tiny_blip_shape, tiny_image_reward

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "blue", "boat", "at", "sea", "on", "##s"]


def picture(seed, width=32, height=32):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


ITEMS = [
    ScoreItem(picture(0), "a red cat"),
    ScoreItem(picture(1, 70, 45), "a blue boat at sea on cats" * 9),
    ScoreItem(picture(2, 40, 90), ""),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_image_reward(tmp_path_factory.mktemp("scorers") / "tiny")


def values(spec, items=ITEMS):
    return [score.value for score in load_scorer(str(spec), chunk=4, threads=1).score(items)]


class Original:
    """`ImageReward.score` read off the original's vit.py, med.py and ImageReward.py, on its state dict."""

    def __init__(self, state, shape):
        self.state, self.shape = state, shape

    def lin(self, x, name):
        return linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, x, name, eps):
        return layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)

    def attend(self, query, key, value, heads, mask=0.0):
        query, key, value = (
            tensor.view(*tensor.shape[:2], heads, -1).transpose(1, 2) for tensor in (query, key, value)
        )
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + mask).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def picture(self, pixels):
        root, vision = "blip.visual_encoder", self.shape.vision
        proj = (self.state[f"{root}.patch_embed.proj.{part}"] for part in ("weight", "bias"))
        patches = conv2d(pixels, *proj, stride=vision.patch_size).flatten(2).transpose(1, 2)
        start = self.state[f"{root}.cls_token"].expand(len(pixels), -1, -1)
        x = torch.cat([start, patches], dim=1) + self.state[f"{root}.pos_embed"]
        for i in range(vision.num_hidden_layers):
            name = f"{root}.blocks.{i}"
            qkv = self.lin(self.norm(x, f"{name}.norm1", 1e-6), f"{name}.attn.qkv").chunk(3, dim=-1)
            x = x + self.lin(self.attend(*qkv, vision.num_attention_heads), f"{name}.attn.proj")
            inner = gelu(self.lin(self.norm(x, f"{name}.norm2", 1e-6), f"{name}.mlp.fc1"))
            x = x + self.lin(inner, f"{name}.mlp.fc2")
        return self.norm(x, f"{root}.norm", 1e-6)

    def text(self, ids, mask, seen):
        root, text = "blip.text_encoder", self.shape.text
        words = embedding(ids, self.state[f"{root}.embeddings.word_embeddings.weight"])
        places = self.state[f"{root}.embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(words + places, f"{root}.embeddings.LayerNorm", 1e-12)
        hidden = (1.0 - mask[:, None, None, :].float()) * -10000.0
        for i in range(text.num_hidden_layers):
            name = f"{root}.encoder.layer.{i}"
            for kind, source, hide in (("attention", None, hidden), ("crossattention", seen, 0.0)):
                keys = x if source is None else source
                qkv = (
                    self.lin(t, f"{name}.{kind}.self.{p}") for t, p in ((x, "query"), (keys, "key"), (keys, "value"))
                )
                out = self.lin(self.attend(*qkv, text.num_attention_heads, hide), f"{name}.{kind}.output.dense")
                x = self.norm(out + x, f"{name}.{kind}.output.LayerNorm", 1e-12)
            inner = self.lin(gelu(self.lin(x, f"{name}.intermediate.dense")), f"{name}.output.dense")
            x = self.norm(inner + x, f"{name}.output.LayerNorm", 1e-12)
        return x

    def score(self, items, tokens, mean, std):
        pixels = torch.stack([crop_picture(item.image, Crop(32, 32, centre="even")) for item in items])
        x = self.text(tokens.input_ids, tokens.attention_mask, self.picture(pixels))[:, 0]
        for position in POSITIONS:
            x = self.lin(x, f"mlp.layers.{position}")
        return ((x[:, 0] - mean) / std).tolist()


def tokens_of(tokenizer, length):
    prompts = [item.prompt for item in ITEMS]
    return tokenizer(prompts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")


def test_scores_are_those_of_the_original_code_read_plainly(folder):
    shape = tiny_blip_shape()
    original = Original(to_image_reward_state_dict(tiny_image_reward(shape), shape, POSITIONS), shape)
    expected = original.score(ITEMS, tokens_of(tiny_tokenizer(40), 20), 0.25, 2.0)
    assert values(f"imagereward={folder}") == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_conversion_round_trip_is_exact():
    shape = tiny_blip_shape()
    state = tiny_image_reward(shape)
    official = to_image_reward_state_dict(state, shape, POSITIONS)
    extras = {"blip.vision_proj.weight": torch.zeros(1), "blip.text_encoder.embeddings.position_ids": torch.zeros(1)}
    back = from_image_reward_state_dict(official | extras, shape, POSITIONS)
    assert set(back) == set(state)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    assert official["blip.visual_encoder.blocks.0.attn.qkv.weight"].shape == (48, 16)
    assert official["blip.text_encoder.encoder.layer.1.crossattention.self.key.weight"].shape == (12, 16)


def test_the_built_in_architecture_has_every_tensor_of_the_released_one():
    shape = image_reward_shape()
    with torch.device("meta"):
        parts = {
            "vision_model": BlipVisionModel(shape.vision),
            "text_encoder": BlipTextModel(shape.text, add_pooling_layer=False),
        }
    state = nn.ModuleDict(parts).state_dict() | {
        f"mlp.layers.{i}.{kind}": torch.zeros(1) for i in POSITIONS for kind in ("weight", "bias")
    }
    official = to_image_reward_state_dict({name: torch.zeros(1) for name in state}, shape, POSITIONS)
    assert set(from_image_reward_state_dict(official, shape, POSITIONS)) == set(state)
    assert state["text_encoder.embeddings.word_embeddings.weight"].shape == (30524, 768)
    assert state["text_encoder.encoder.layer.11.crossattention.self.value.weight"].shape == (768, 1024)


def save_release(folder, monkeypatch):
    """Save a tiny ImageReward.pt with BERT's vocab.txt beside it; the built-in architecture is made tiny for it."""
    shape = tiny_blip_shape(vocab_size=len(WORDS) + 2)
    monkeypatch.setattr("scoring.imagereward.image_reward_shape", lambda: shape)
    official = to_image_reward_state_dict(tiny_image_reward(shape), shape, POSITIONS)
    extras = {"blip.vision_proj.weight": torch.zeros(2, 2), "blip.text_proj.bias": torch.zeros(2)}
    torch.save(official | extras, folder / "ImageReward.pt")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return Original(official, shape)


def test_the_released_layout_with_berts_tokenizer(tmp_path, monkeypatch):
    original = save_release(tmp_path, monkeypatch)
    tokens = tokens_of(BertTokenizer.from_pretrained(str(tmp_path), local_files_only=True), 35)
    assert tokens.input_ids[0, :6].tolist() == [2, 5, 6, 7, 3, 0]
    expected = original.score(ITEMS, tokens, 0.16717362830052426, 1.0333394966054072)
    scorer = load_scorer(f"imagereward={tmp_path / 'ImageReward.pt'}", chunk=4, threads=1)
    assert scorer.name == "imagereward"
    assert [score.value for score in scorer.score(ITEMS)] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_release_comes_from_the_hub(tmp_path, monkeypatch):
    save_release(tmp_path, monkeypatch)
    direct = values(f"imagereward={tmp_path / 'ImageReward.pt'}")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "vocab.txt", tmp_path / "elsewhere")
    monkeypatch.setattr("scoring.files.hf_hub_download", lambda repo, file, **_: str(tmp_path / file))
    monkeypatch.setattr("scoring.files.snapshot_download", lambda repo, **_: str(tmp_path / "elsewhere"))
    assert values("imagereward") == direct


def test_without_the_hub_the_way_out_is_named(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network\nat all")

    monkeypatch.setattr("scoring.files.hf_hub_download", offline)
    with pytest.raises(BadInput, match=r"got no ImageReward\.pt in the hub.*--scorer imagereward=FILE") as caught:
        load_scorer("imagereward")
    assert "\n" not in str(caught.value)


def test_a_prompt_is_cut_at_max_length(copy):
    long = [ScoreItem(ITEMS[0].image, text) for text in ("x" * 30, "x" * 30 + " and a cat", "x" * 5)]
    same, cut, short = values(f"imagereward={copy}", long)
    assert same == cut != short


def test_numbers_of_the_config_are_part_of_the_revision(folder, copy):
    same = load_scorer(f"imagereward={folder}").revision
    assert load_scorer(f"imagereward={copy}").revision == same
    edit(copy, mean=0.5)
    assert load_scorer(f"imagereward={copy}").revision != same


def edit(folder, **changes):
    (folder / "config.json").write_text(json.dumps(IMAGE_REWARD | changes))


def save_state(folder, **changes):
    path = folder / "model.safetensors"
    state = load_file(path) | {key.replace("__", "."): tensor for key, tensor in changes.items()}
    save_file({key: tensor for key, tensor in state.items() if tensor.numel()}, path)


def larger_tokenizer(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["extra</w>"] = 514
    path.write_text(json.dumps(content))


TEXT = IMAGE_REWARD["text_config"]
DAMAGE = {
    "no config": (lambda f: (f / "config.json").unlink(), "no readable config.json"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "no readable config.json"),
    "unknown key": (lambda f: edit(f, heads=3), "got heads: Extra inputs"),
    "zero std": (lambda f: edit(f, std=0), "got std"),
    "nonsense": (lambda f: edit(f, text_config={"hidden_size": "x"}), "does not fit"),
    "too long": (lambda f: edit(f, max_length=41), "max_length 41 above 40 positions"),
    "odd heads": (lambda f: edit(f, text_config=TEXT | {"num_attention_heads": 5}), "got tensors of other names"),
    "other width": (lambda f: edit(f, text_config=TEXT | {"hidden_size": 24}), "got tensors of other names or shapes"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "does not load"),
    "garbage": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "does not load"),
    "missing": (
        lambda f: save_state(f, vision_model__post_layernorm__bias=torch.zeros(0)),
        "got tensors of other names or shapes",
    ),
    "wrong head": (lambda f: save_state(f, mlp__layers__0__weight=torch.zeros(8, 9)), r"got layers\.0 of shapes"),
    "no tokenizer": (lambda f: [path.unlink() for path in f.glob("token*")], "tokenizer"),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "no readable tokenizer"),
    "larger tokenizer": (larger_tokenizer, "got a tokenizer of 515 tokens, expected 514"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_folders_are_one_line_errors(copy, damage):
    break_it, message = DAMAGE[damage]
    break_it(copy)
    with pytest.raises(BadInput, match=message) as caught:
        load_scorer(f"imagereward={copy}")
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_a_release_of_another_model_is_refused(tmp_path, monkeypatch):
    original = save_release(tmp_path, monkeypatch)
    state = dict(original.state)
    del state["mlp.layers.0.bias"]
    state["blip.visual_encoder.blocks.9.norm1.bias"] = torch.zeros(1)
    torch.save(state, tmp_path / "ImageReward.pt")
    with pytest.raises(BadInput, match=r"1 missing \(mlp\.layers\.0\.bias\) and 1 unexpected tensors \(blip\.visual"):
        load_scorer(f"imagereward={tmp_path / 'ImageReward.pt'}")

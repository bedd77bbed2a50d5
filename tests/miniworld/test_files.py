"""The shipped folders: prompts, corpus, sizes, and that the models load as their formats promise."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
import torch

import miniworld
from miniworld.grammar import parse, split_of
from miniworld.vocabulary import FAMILIES, FILLERS, HARMFUL_TERMS, MAX_UNDILUTED, TERMS

MIB = 2**20
PIPELINES = (miniworld.PIPELINE, miniworld.SECOND_PIPELINE)


def read(split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (miniworld.PROMPTS / f"{split}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("split", "least"), [("train", 200), ("validation", 80)])
def test_prompt_files_hold_their_split_only(split, least):
    rows = read(split)
    assert len({row["prompt"] for row in rows}) == len(rows) >= least
    assert set(Counter(row["family"] for row in rows)) == set(FAMILIES)
    for row in rows:
        scene = parse(row["prompt"])
        assert scene is not None
        assert scene.family == row["family"]
        assert split_of(scene.triple) == split


def test_the_corpus_is_large_messy_and_without_test_scenes():
    lines = miniworld.CORPUS.read_text().splitlines()
    scenes = [parse(line) for line in lines]
    assert len(set(lines)) == len(lines) >= 2000
    assert all(scene is not None and split_of(scene.triple) == "train" for scene in scenes)
    terms = [scene.terms for scene in scenes if scene is not None]
    assert sum(len(row) > MAX_UNDILUTED for row in terms) > 0.1 * len(terms)
    assert sum(bool(set(row) & set(HARMFUL_TERMS)) for row in terms) > 0.05 * len(terms)
    counts = Counter(term for row in terms for term in row)
    assert set(TERMS) <= set(counts)
    assert {term for term, _ in counts.most_common(5)} & set(FILLERS), "popularity should not equal benefit"


def test_sizes_stay_under_the_limits():
    files = [file for file in miniworld.ROOT.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert max(file.stat().st_size for file in files) <= 16 * MIB
    refiners = [file for file in files if miniworld.REFINERS in file.parents]
    assert sum(file.stat().st_size for file in refiners) <= 10 * MIB
    assert sum(file.stat().st_size for file in {*files} - {*refiners}) <= 24 * MIB


@pytest.mark.parametrize("folder", PIPELINES, ids=lambda folder: folder.name)
def test_a_pipeline_loads_without_arguments_and_draws_reproducibly(folder):
    from diffusers import DiffusionPipeline

    import miniworld.patch_vae  # noqa: F401 - diffusers wants the autoencoder's module imported, nothing else

    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    settings = json.loads((folder / "render_defaults.json").read_text())
    assert set(settings) == {"num_inference_steps", "guidance_scale", "height", "width"}
    texts = ["a red house on a meadow, anime", "photo of one blue car at night, sharp focus"]

    def draw() -> list[bytes]:
        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        images = pipeline(texts, generator=generators, **settings).images
        assert all(image.size == (settings["width"], settings["height"]) for image in images)
        assert all(np.asarray(image).std() > 5 for image in images)
        return [hashlib.sha256(image.tobytes()).digest() for image in images]

    first = draw()
    assert first == draw()
    assert first[0] != first[1]


def test_the_scorer_has_the_layout_of_hpsv2_checkpoints():
    checkpoint = torch.load(miniworld.SCORER / "weights.pt", weights_only=True)
    config = json.loads((miniworld.SCORER / "config.json").read_text())
    state, vision, text = checkpoint["state_dict"], config["vision_cfg"], config["text_cfg"]
    width, embed = vision["width"], config["embed_dim"]
    assert config["quick_gelu"] is False
    assert all(value.dtype == torch.float16 for value in state.values())
    assert state["visual.conv1.weight"].shape == (width, 3, vision["patch_size"], vision["patch_size"])
    assert state["visual.positional_embedding"].shape == (
        (vision["image_size"] // vision["patch_size"]) ** 2 + 1,
        width,
    )
    assert state["visual.class_embedding"].shape == (width,)
    assert state["visual.proj"].shape == (width, embed)
    assert state["text_projection"].shape == (text["width"], embed)
    assert state["token_embedding.weight"].shape == (text["vocab_size"], text["width"])
    assert state["positional_embedding"].shape == (text["context_length"], text["width"])
    assert state["logit_scale"].shape == ()
    for prefix, layers, size in (
        ("visual.transformer", vision["layers"], width),
        ("transformer", text["layers"], text["width"]),
    ):
        assert state[f"{prefix}.resblocks.{layers - 1}.attn.in_proj_weight"].shape == (3 * size, size)
        assert state[f"{prefix}.resblocks.{layers - 1}.mlp.c_fc.weight"].shape == (4 * size, size)
        assert f"{prefix}.resblocks.{layers}.ln_1.weight" not in state
    for name in ("visual.ln_pre", "visual.ln_post", "ln_final"):
        assert f"{name}.bias" in state


def test_both_tokenizers_agree_and_know_every_byte():
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(miniworld.SCORER)
    config = json.loads((miniworld.SCORER / "config.json").read_text())
    assert len(tokenizer) == config["text_cfg"]["vocab_size"]
    assert tokenizer.model_max_length == config["text_cfg"]["context_length"]
    text = "a Red cat, ünknown 漢字!"
    ids = tokenizer(text).input_ids
    assert ids == CLIPTokenizer.from_pretrained(miniworld.PIPELINE / "tokenizer")(text).input_ids
    assert max(ids) == ids[-1] == tokenizer.eos_token_id
    assert ids.count(tokenizer.eos_token_id) == 1


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_no_two_models_share_a_tower():
    towers = {
        "pick": weights(miniworld.PICK)["vision_model.embeddings.patch_embedding.weight"],
        "aesthetic": weights(miniworld.AESTHETIC / "clip")["vision_model.embeddings.patch_embedding.weight"],
        "reward": weights(miniworld.REWARD)["vision_model.embeddings.patch_embedding.weight"],
        "pivot": weights(miniworld.PIVOT)["embeddings.patch_embedding.weight"],
        "scorer": torch.load(miniworld.SCORER / "weights.pt", weights_only=True)["state_dict"]["visual.conv1.weight"],
    }
    assert all(value.dtype == torch.float16 for value in towers.values())
    assert len({value.numpy().tobytes() for value in towers.values()}) == len(towers)
    texts = [weights(folder / "text_encoder")["embeddings.token_embedding.weight"] for folder in PIPELINES]
    assert texts[0].shape != texts[1].shape


def test_the_pivot_encoder_gives_sixteen_tokens():
    from transformers import CLIPVisionModel

    tower = CLIPVisionModel.from_pretrained(miniworld.PIVOT, dtype=torch.float32).eval()
    with torch.no_grad():
        found = tower(pixel_values=torch.zeros(2, 3, 64, 64)).last_hidden_state
    assert found.shape == (2, 1 + 16, tower.config.hidden_size)


@pytest.mark.parametrize(
    "spec", [str(miniworld.SCORER), *miniworld.OTHER_SCORERS], ids=lambda spec: spec.split("/")[-1]
)
def test_every_scorer_loads_by_its_spec_and_prefers_good_terms(spec):
    from core.records import ScoreItem
    from miniworld.grammar import draw_prompts
    from miniworld.renderer import render
    from scoring import load_scorer

    prompts = draw_prompts("validation", 5, 8)
    scorer = load_scorer(spec, chunk=8)

    def scores(terms):
        pictures = [render(p.scene.with_terms(terms), np.random.default_rng(k)) for k, p in enumerate(prompts)]
        items = [ScoreItem(picture, p.prompt) for picture, p in zip(pictures, prompts, strict=True)]
        return np.array([score.value for score in scorer.score(items)])

    good, bad = scores(("high contrast", "sharp focus")), scores(("blurry", "washed out", "underexposed"))
    assert np.isfinite(good).all()
    assert np.mean(good > bad) >= 0.75


def test_importing_the_package_costs_no_torch():
    import subprocess
    import sys

    code = "import sys, miniworld, miniworld.grammar, miniworld.vocabulary; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"

"""Pieces of the training code, on small inputs."""

import json

import numpy as np
import pytest
import torch
from transformers import CLIPModel

from miniworld.grammar import split_of
from miniworld.patch_vae import LinearPatchVAE
from miniworld.train.bootstrap import bootstrap, effect_size, rank_correlation
from miniworld.train.clip import build_clip, contrastive_loss, image_features, text_features
from miniworld.train.muon import Muon, orthogonalise
from miniworld.train.open_clip import open_clip_config, open_clip_state
from miniworld.train.pairs import Gallery, bayes_limit, choose_pairs, scene_index, scene_of
from miniworld.train.preference import preference_loss
from miniworld.train.prompts import corpus
from miniworld.train.renders import choose_terms, draw_scene
from miniworld.train.stages import Workspace, run_stage


def test_a_finished_stage_is_skipped_and_recorded(tmp_path):
    calls = []

    def stage(space):
        calls.append(space.amount(10))
        return {"figure": 1}

    space = Workspace(tmp_path, shrink=5)
    run_stage("toy", stage, space)
    run_stage("toy", stage, space)
    assert calls == [2]
    assert json.loads((tmp_path / "stages.json").read_text())["toy"]["figure"] == 1


def test_an_interrupted_stage_keeps_its_time(tmp_path):
    def failing(space):
        raise RuntimeError("stop")

    space = Workspace(tmp_path)
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "toy.json").write_text("100.0")
    with pytest.raises(RuntimeError, match="stop"):
        run_stage("toy", failing, space)
    run_stage("toy", lambda space: {}, space)
    assert space.record()["toy"]["seconds"] >= 100


def test_training_scenes_and_the_corpus_avoid_test_triples():
    rng = np.random.default_rng(0)
    assert all(split_of(draw_scene(rng).triple) != "test" for _ in range(300))
    assert corpus(1, 20) == corpus(1, 20)
    counts = [len(choose_terms("photo", rng)) for _ in range(300)]
    assert 0.15 < np.mean([count == 0 for count in counts]) < 0.35
    assert max(counts) > 5


def test_scene_numbers_go_both_ways():
    rng = np.random.default_rng(0)
    for _ in range(50):
        scene = draw_scene(rng).with_terms(())
        assert scene_of(scene_index(scene)) == scene


def test_the_autoencoder_keeps_smooth_pictures():
    rng = torch.Generator().manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(40, 3, 8, 8, generator=rng) * 2 - 1, size=64, mode="bilinear")
    vae = LinearPatchVAE.fit(images)
    latents = vae.encode(images)
    assert latents.shape == (40, 48, 8, 8)
    assert latents.square().mean().item() == pytest.approx(1, abs=0.05)
    assert (vae.decode(latents).sample - images).square().mean() < 1e-3
    assert torch.equal(vae.decode(latents, return_dict=False)[0], vae.decode(latents).sample)


def test_muon_steps_are_nearly_orthogonal_and_lower_a_loss():
    update = orthogonalise(torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)))
    singular = torch.linalg.svdvals(update)
    assert singular.max() < 1.4
    assert singular.min() > 0.3
    weight = torch.ones(4, 6)
    optimiser = Muon([weight], lr=0.05)
    for _ in range(40):
        weight.grad = 2 * weight
        optimiser.step()
    assert weight.square().mean() < 0.5


def test_losses_by_hand():
    first, second, text = torch.eye(2), torch.eye(2).flip(0), torch.eye(2)
    assert preference_loss(first, second, text, torch.tensor(1.0)).item() == pytest.approx(np.log(1 + np.exp(-1)))
    assert preference_loss(first, first, text, torch.tensor(9.0)).item() == pytest.approx(np.log(2))


@pytest.fixture(scope="module")
def clip() -> CLIPModel:
    torch.manual_seed(0)
    return build_clip(50, 49).eval()


def test_open_clip_names_hold_the_same_numbers(clip):
    state, config = open_clip_state(clip), open_clip_config(clip.config)
    assert sum(value.numel() for value in state.values()) == sum(p.numel() for p in clip.parameters())
    layer = clip.vision_model.encoder.layers[0].self_attn
    width = config["vision_cfg"]["width"]
    packed = state["visual.transformer.resblocks.0.attn.in_proj_weight"]
    assert torch.equal(packed[width : 2 * width], layer.k_proj.weight)
    assert torch.equal(state["visual.proj"], clip.visual_projection.weight.T)


def test_features_are_unit_vectors_and_a_contrastive_loss_by_hand(clip):
    pictures, ids = torch.zeros(3, 3, 64, 64), torch.tensor([[48, 1, 2, 49]] * 3)
    with torch.no_grad():
        assert torch.allclose(image_features(clip, pictures).norm(dim=1), torch.ones(3))
        assert torch.allclose(text_features(clip, ids).norm(dim=1), torch.ones(3))
        assert contrastive_loss(torch.ones(3, 2), torch.ones(3, 2), torch.tensor(5.0)).item() == pytest.approx(
            np.log(3)
        )


def test_pairs_share_a_scene_and_follow_the_truth():
    truth = torch.tensor([0.0, 30.0, 0.0, -30.0])
    gallery = Gallery(torch.zeros(4, 64, 64, 3, dtype=torch.uint8), torch.tensor([7, 7, 8, 8]), [""] * 4, truth)
    pairs = choose_pairs(gallery, 50, np.random.default_rng(0))
    assert {tuple(pair) for pair in pairs.tolist()} == {(1, 0), (2, 3)}
    assert bayes_limit(gallery, pairs) == pytest.approx(1)


def test_bootstrap_and_statistics_by_hand():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    estimate = bootstrap(values)
    assert estimate.value == 2.5
    assert estimate.low < 2.5 < estimate.high
    assert effect_size(values) == pytest.approx(2.5 / np.std(values, ddof=1))
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)

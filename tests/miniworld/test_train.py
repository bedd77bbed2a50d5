"""Pieces of the training code, on small inputs."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPModel

from miniworld.grammar import split_of
from miniworld.patch_vae import PatchVAE
from miniworld.train.aesthetic import ratings
from miniworld.train.bootstrap import bootstrap, effect_size, rank_correlation
from miniworld.train.clip import CLIPS, build_clip, contrastive_loss, image_features, text_features
from miniworld.train.finish import picture_loss
from miniworld.train.fitting import fit, rate_share
from miniworld.train.fooling import candidate_sets
from miniworld.train.muon import Muon, orthogonalise
from miniworld.train.open_clip import open_clip_config, open_clip_state
from miniworld.train.pairs import READERS, Gallery, bayes_limit, choose_pairs, scene_index, scene_of, shares
from miniworld.train.preference import preference_loss
from miniworld.train.prompts import corpus
from miniworld.train.renders import choose_terms, draw_scene
from miniworld.train.reward import RewardModel, ranking_loss
from miniworld.train.stages import Workspace, run_stage
from miniworld.train.variance import COMPONENTS, common_seed_ratio, frechet_distance, variance_shares
from miniworld.vocabulary import FILLERS, TERMS


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
    vae = PatchVAE.fit(images)
    latents = vae.encode(images)
    assert latents.shape == (40, 48, 8, 8)
    assert latents.square().mean().item() == pytest.approx(1, abs=0.05)
    assert (vae.decode(latents).sample - images).square().mean() < 1e-3
    assert torch.equal(vae.decode(latents, return_dict=False)[0], vae.decode(latents).sample)


def test_the_decoder_is_linear_until_its_learned_part_is_trained(tmp_path):
    linear = PatchVAE.fit(torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    vae = PatchVAE(latent_channels=48, finish_width=8, finish_blocks=2)
    vae.load_state_dict(linear.state_dict(), strict=False)
    latents = torch.randn(2, 48, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(vae.decode(latents).sample, linear.decode(latents).sample)
        vae.finish.out.weight.normal_(generator=torch.Generator().manual_seed(2))
        changed = vae.decode(latents).sample
        assert not torch.equal(changed, linear.decode(latents).sample)
        vae.save_pretrained(tmp_path)
        assert torch.equal(PatchVAE.from_pretrained(tmp_path).decode(latents).sample, changed)


def test_the_picture_loss_sees_blur_and_is_zero_on_equals():
    sharp = torch.zeros(1, 3, 8, 8)
    sharp[..., 4:] = 1
    blurred = sharp.clone()
    blurred[..., 3:5] = 0.5
    assert picture_loss(sharp, sharp) == 0
    assert picture_loss(blurred, sharp) > 2 * (blurred - sharp).abs().mean()


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
    return build_clip(CLIPS["clip_small"], 50, 49).eval()


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


def test_the_preference_models_learn_from_disjoint_pictures_and_groups_stay_whole():
    count = 8 * 40
    gallery = Gallery(
        torch.zeros(count, 1, 1, 3, dtype=torch.uint8),
        torch.arange(count) // 8,
        [str(k) for k in range(count)],
        torch.zeros(count),
    )
    parts = shares(gallery, 8)
    assert set(parts) == set(READERS)
    assert sorted((c for part in parts.values() for c in part.captions), key=int) == gallery.captions
    scenes = [set(part.scenes.tolist()) for part in parts.values()]
    assert sum(len(found) for found in scenes) == len(set.union(*scenes)) == 40
    assert len((parts["pick"] + parts["reward"]).captions) == len(parts["preference"].captions)


def test_the_reward_model_ignores_padding_and_reads_both_sides():
    torch.manual_seed(0)
    model = RewardModel(50, 49).eval()
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    ids, mask = torch.tensor([[48, 1, 2, 49, 49, 49]] * 2), torch.tensor([[1, 1, 1, 1, 0, 0]] * 2)
    with torch.no_grad():
        scores = model(pictures, ids, mask)
        padded = torch.tensor([[48, 1, 2, 49, 7, 8]] * 2)
        assert scores.shape == (2,)
        assert torch.allclose(model(pictures, padded, mask), scores, atol=1e-6)
        assert not torch.allclose(model(pictures, torch.tensor([[48, 3, 2, 49, 49, 49]] * 2), mask), scores, atol=1e-6)
        assert scores[0] != scores[1]
    assert ranking_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(np.log(2))
    assert ranking_loss(torch.full((3,), 2.0), torch.zeros(3)).item() == pytest.approx(np.log(1 + np.exp(-2)))


def test_ratings_follow_taste_within_the_scale():
    taste = torch.linspace(-3, 3, 400)
    found = ratings(taste, torch.Generator().manual_seed(0))
    assert found.min() >= 1
    assert found.max() <= 10
    assert np.corrcoef(found.numpy(), taste.numpy())[0, 1] > 0.8


def test_an_interrupted_fit_ends_like_an_uninterrupted_one(tmp_path, monkeypatch):
    inputs = torch.randn(30, 8, 3, generator=torch.Generator().manual_seed(1))

    def train(space, kill_at=None):
        torch.manual_seed(0)
        model = nn.Linear(3, 1)

        def loss(step):
            if step == kill_at:
                raise KeyboardInterrupt
            return model(inputs[step]).square().mean()

        fit(space, "toy", model, steps=30, peak=0.1, loss=loss)
        return model.weight.detach().clone()

    whole = train(Workspace(tmp_path / "whole"))
    broken = Workspace(tmp_path / "broken")
    monkeypatch.setattr("miniworld.train.fitting.Pulse.beat", lambda self: True)
    with pytest.raises(KeyboardInterrupt):
        train(broken, kill_at=17)
    assert torch.equal(train(broken), whole)
    assert rate_share(0.05) > 0.9
    assert rate_share(1) == pytest.approx(0)


def test_variance_shares_recover_what_was_put_in():
    rng = np.random.default_rng(0)
    prompts, instructions, seeds = 400, 12, 4
    values = 3 * rng.normal(size=(prompts, 1, 1)) + 2 * rng.normal(size=(prompts, 1, seeds))
    values = values + rng.normal(size=(prompts, instructions, 1)) + rng.normal(size=(prompts, instructions, seeds))
    shares_found = variance_shares(values)
    wanted = dict(zip(COMPONENTS, (9 / 15, 0.0, 1 / 15, 4 / 15, 1 / 15), strict=True))
    assert shares_found == pytest.approx(wanted, abs=0.05)
    instructed = variance_shares(values + 10 * np.arange(instructions)[None, :, None])
    assert instructed["instruction"] > 0.9


def test_common_seeds_halve_or_do_nothing():
    rng = np.random.default_rng(0)
    shared, first, second = (rng.normal(size=(300, 5)) for _ in range(3))
    assert common_seed_ratio(first, second).value == pytest.approx(1, abs=0.1)
    assert common_seed_ratio(shared + first, shared + second).value == pytest.approx(0.5, abs=0.06)
    assert common_seed_ratio(shared, shared + 1).value == pytest.approx(0)


def test_frechet_distance_by_hand():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5000, 3))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(features, features + np.array([1.0, 2.0, 0.0])) == pytest.approx(5, abs=1e-6)
    assert frechet_distance(features, 3 * features) == pytest.approx(3 * 4, abs=0.5)


def test_candidate_sets_try_every_word_alone():
    sets = candidate_sets(np.random.default_rng(0), 90)
    assert len(sets) == 90
    assert {words[0] for words in sets if len(words) == 1} == {*TERMS, *FILLERS}

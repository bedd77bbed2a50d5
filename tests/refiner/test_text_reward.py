"""Text reward models: they learn scores, stand in for pictures in PPO, and have folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BadInput
from refiner import load_refiner
from refiner.folder import Manifest, read_manifest
from refiner.ppo import train
from refiner.rewards import Episodes
from refiner.sft import save_causal
from refiner.text_reward import (
    Judged,
    Reading,
    TextReward,
    load_text_reward,
    load_text_rewards,
    save_text_reward,
    save_text_rewards,
    text_rewards,
    train_text_reward,
)
from refiner.train_config import TrainConfig
from tests.refiner.test_ppo import CONFIG, PROMPTS, causal
from tests.refiner.tiny import WORDS, tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow
ROWS = [
    Judged(prompt, " ".join(["gold"] * count + [word] * (4 - count)), 20.0 + count)
    for prompt in PROMPTS
    for word in WORDS[4:8]
    for count in range(5)
]
READING = Reading("the {prompt} , {refined}", 24)
TRAINING = TrainConfig(max_steps=80, batch_size=32, learning_rate=5e-3, eval_every=40)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TextReward:
    model = TextReward(tiny_lm(), tiny_tokenizer(), READING)
    history = train_text_reward(model, ROWS, TRAINING, tmp_path_factory.mktemp("rm"), ROWS[::7])
    assert history[-1]["eval_loss"] < 0.2
    return model


def test_predictions_are_in_the_units_of_the_labels(learned: TextReward) -> None:
    low, high = learned.scores(["red boat"] * 2, ["house sea sky boat", "gold gold gold gold"])
    assert low == pytest.approx(20, abs=1)
    assert high == pytest.approx(24, abs=1)


def test_a_policy_learns_from_it(learned: TextReward, tmp_path: Path) -> None:
    reward = text_rewards({"pick": learned}, lambda prompt: "house sea sky boat")
    [same] = reward(Episodes(["red boat"], ["house sea sky boat"], 0))["pick"]
    assert same == 0.0
    history = train(causal(), PROMPTS, reward, replace(CONFIG, steps=10, max_new_tokens=4), tmp_path)
    assert history[-1]["scores/pick"] > history[0]["scores/pick"] + 0.5


def test_its_folder(learned: TextReward, tmp_path: Path) -> None:
    save_text_reward(tmp_path / "r", learned, Manifest("", "tiny", "CC0-1.0"))
    again = load_text_reward(tmp_path / "r")
    assert again.scores(["red boat"], ["gold sky"]) == pytest.approx(learned.scores(["red boat"], ["gold sky"]))
    (tmp_path / "r" / "head.safetensors").write_text("torn")
    with pytest.raises(BadInput, match="files that do not load"):
        load_text_reward(tmp_path / "r")


def test_a_refiners_folder_keeps_them(learned: TextReward, tmp_path: Path) -> None:
    assert load_text_rewards(tmp_path) == {}
    save_causal(
        tmp_path / "r", tiny_lm(), tiny_tokenizer(), Manifest("", "tiny", "CC0", settings={"style": "neuroprompts"})
    )
    save_text_rewards(tmp_path / "r", {"pick/v1": learned}, Manifest("causal", "tiny", "CC0", half=True))
    [(name, again)] = load_text_rewards(tmp_path / "r").items()
    assert name == "pick-v1"
    wanted = learned.scores(["red boat"], ["gold sky"])
    assert again.scores(["red boat"], ["gold sky"]) == pytest.approx(wanted, rel=1e-3)
    assert (
        read_manifest(tmp_path / "r/rewards/pick-v1").label == "scores of pick/v1, read off prompts; learned for: tiny"
    )
    assert load_refiner(tmp_path / "r")


def test_braces_in_prompts_stay() -> None:
    assert Reading("{prompt}: {refined}").text("a {refined}", "b {prompt}") == "a {refined}: b {prompt}"
    with pytest.raises(BadInput, match="expected a template"):
        Reading("{prompt}")


def test_another_template_is_another_training(tmp_path: Path) -> None:
    config = replace(TRAINING, max_steps=1)
    train_text_reward(TextReward(tiny_lm(), tiny_tokenizer(), READING), ROWS, config, tmp_path)
    other = TextReward(tiny_lm(), tiny_tokenizer(), replace(READING, template="{refined}"))
    train_text_reward(other, ROWS, config, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_equal_labels_are_refused(tmp_path: Path) -> None:
    model = TextReward(tiny_lm(), tiny_tokenizer(), READING)
    with pytest.raises(BadInput, match="expected different ones"):
        train_text_reward(model, [ROWS[0]] * 3, TRAINING, tmp_path)

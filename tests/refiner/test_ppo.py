"""PPO as a whole: it raises rewards, changes what it should and nothing else, and goes on after a kill."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config

from core.errors import BadInput
from refiner.lm import LmConfig, disable_dropout, with_lora
from refiner.policies import CausalPolicy, Policy
from refiner.ppo import train
from refiner.ppo_config import PpoConfig
from refiner.prip.encoder import PreferenceEncoder
from refiner.prip.model import Prip
from refiner.prip.policy import PripPolicy
from refiner.prip.stages import PromptPivot, train_decoder
from refiner.rewards import Episodes, Rewards
from refiner.train_config import TrainConfig
from tests.refiner.tiny import GPT2, T5, WORDS, tiny_lm, tiny_prip, tiny_tokenizer

pytestmark = pytest.mark.slow
PROMPTS = ["red boat", "blue sea", "a house", "green sky"]
CONFIG = PpoConfig(
    steps=12, batch_size=32, micro_batch_size=32, learning_rate=3e-3, kl_coef=0.01, max_new_tokens=8, checkpoint_every=2
)


def gold(episodes: Episodes) -> Rewards:
    """Share of the word gold among the words that were added."""
    rows = [text[len(p) :].split() for p, text in zip(episodes.prompts, episodes.refined, strict=True)]
    return {"gold": [row.count("gold") / max(1, len(row)) for row in rows]}


def causal(lm: object | None = None) -> CausalPolicy:
    lm = tiny_lm() if lm is None else lm
    return CausalPolicy(lm, tiny_tokenizer(), lambda prompt: f"the {prompt} .", lambda prompt, text: f"{prompt} {text}")


def colour_speaker(folder: Path) -> Prip:
    """PRIP whose D says a colour four times where the pivot points to it; E knows nothing."""
    prip = tiny_prip()
    directions = torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(1))
    pairs = [PromptPivot(f"boat , {word} {word} {word} {word}", directions[k]) for k, word in enumerate(WORDS[:4])]
    train_decoder(prip, pairs, TrainConfig(max_steps=80, batch_size=8, learning_rate=1e-2), folder)
    return prip


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.named_parameters()}


@pytest.mark.parametrize("advantage", ["gae", "rloo"])
def test_a_causal_model_learns_to_say_gold(tmp_path: Path, advantage: str) -> None:
    history = train(causal(), PROMPTS, gold, replace(CONFIG, advantage=advantage, steps=15), tmp_path)
    scores = [metrics["scores/gold"] for metrics in history]
    assert scores[0] < 0.2
    assert sum(scores[-3:]) / 3 > 0.6, scores
    assert history[-1]["objective/kl"] > history[0]["objective/kl"] == 0.0
    assert history[0]["val/ratio"] == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("advantage", ["gae", "rloo"])
def test_e_learns_to_make_the_frozen_d_say_gold(tmp_path: Path, advantage: str) -> None:
    prip = colour_speaker(tmp_path / "d")
    before = state(prip.decoder)
    config = replace(CONFIG, advantage=advantage, steps=15)
    scores = [row["scores/gold"] for row in train(PripPolicy(prip), PROMPTS, gold, config, tmp_path / "ppo")]
    assert scores[0] < 0.2
    assert sum(scores[-3:]) / 3 > 0.5, scores
    assert all(torch.equal(before[name], tensor) for name, tensor in state(prip.decoder).items())


def test_one_step_changes_every_parameter_of_e_and_none_of_d(tmp_path: Path) -> None:
    prip = tiny_prip()
    encoder, decoder = state(prip.encoder), state(prip.decoder)
    train(PripPolicy(prip), PROMPTS, gold, replace(CONFIG, steps=1), tmp_path)
    same = [name for name, tensor in state(prip.encoder).items() if torch.equal(encoder[name], tensor)]
    assert same == []
    moved = [name for name, tensor in state(prip.decoder).items() if not torch.equal(decoder[name], tensor)]
    assert moved == []
    assert all(parameter.grad is None for parameter in prip.decoder.parameters())


def test_lora_trains_its_matrices_alone_and_its_reference_is_the_model_without(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    lm = with_lora(tiny_lm(), LmConfig(shape=GPT2, lora_r=4))
    before = state(lm)
    history = train(causal(lm), PROMPTS, gold, replace(CONFIG, steps=8, learning_rate=2e-2), tmp_path)
    moved = {name for name, tensor in state(lm).items() if not torch.equal(before[name], tensor)}
    assert moved == {name for name in before if "lora" in name}
    assert history[0]["objective/kl"] == pytest.approx(0.0, abs=1e-4)
    assert history[-1]["objective/kl"] > 0.01
    assert history[-1]["scores/gold"] > history[0]["scores/gold"]


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_without_dropout_train_mode_is_eval_mode(name: str) -> None:
    ids = torch.randint(0, 12, (2, 6))
    llama = LlamaConfig(
        vocab_size=14,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        attention_dropout=0.5,
    )
    model: torch.nn.Module = {
        "gpt2": lambda: tiny_lm(dropout=0.5),
        "llama": lambda: LlamaForCausalLM(llama),
        "t5": lambda: PreferenceEncoder(T5Config(vocab_size=14, **T5, dropout_rate=0.5), 3, 5),
    }[name]()

    def out() -> torch.Tensor:
        found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        return found if isinstance(found, torch.Tensor) else found.logits

    wanted = model.eval() and out()
    assert not torch.equal(model.train() and out(), wanted)
    disable_dropout(model)
    assert torch.equal(out(), wanted)


def test_bf16_learns_with_weights_in_float32(tmp_path: Path) -> None:
    policy = causal()
    history = train(policy, PROMPTS, gold, replace(CONFIG, bf16=True), tmp_path)
    assert history[-1]["scores/gold"] > history[0]["scores/gold"] + 0.2
    assert history[0]["val/ratio"] == pytest.approx(1.0, abs=0.3)
    assert {parameter.dtype for parameter in policy.trained.parameters()} == {torch.float32}


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    ends = []
    for checkpointing in (False, True):
        policy = causal(tiny_lm(gradient_checkpointing=checkpointing))
        train(policy, PROMPTS, gold, replace(CONFIG, steps=2), tmp_path / str(checkpointing))
        ends.append(state(policy.trained))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name])


def makers() -> list[Callable[[Path], Policy]]:
    return [lambda _: causal(), lambda _: PripPolicy(tiny_prip())]


@pytest.mark.parametrize("make", makers(), ids=["causal", "prip"])
def test_killed_and_resumed_is_the_same_to_the_last_bit(tmp_path: Path, make: Callable[[Path], Policy]) -> None:
    config = replace(CONFIG, steps=5, kl_target=0.5, reward_calibration=48, num_mini_batches=2, micro_batch_size=8)
    config = replace(config, diagnose_every=2)

    def killing(episodes: Episodes) -> Rewards:
        if seen and episodes.seed == seen[0]:
            raise KeyboardInterrupt
        order.append(episodes.seed)
        return gold(episodes)

    order: list[int] = []
    seen: list[int] = []
    whole = make(tmp_path)
    history = train(whole, PROMPTS, killing, config, tmp_path / "whole")
    seen.append(order[3])
    with pytest.raises(KeyboardInterrupt):
        train(make(tmp_path), PROMPTS, killing, config, tmp_path / "killed")
    resumed = make(tmp_path)
    torch.manual_seed(99)
    assert train(resumed, PROMPTS, gold, config, tmp_path / "killed") == history
    for name, tensor in state(whole.trained).items():
        assert torch.equal(tensor, state(resumed.trained)[name]), name
    assert len(set(order[:5])) == 5, "each step has its own seed"
    assert [row["step"] for row in history if "collapse/greedy_same" in row] == [1, 2, 4, 5]
    unseen = make(tmp_path)
    train(unseen, PROMPTS, gold, replace(config, diagnose_every=0), tmp_path / "unseen")
    for name, tensor in state(whole.trained).items():
        assert torch.equal(tensor, state(unseen.trained)[name]), "looking changes nothing"


@pytest.mark.parametrize("make", makers(), ids=["causal", "prip"])
def test_another_reward_or_start_is_another_training(tmp_path: Path, make: Callable[[Path], Policy]) -> None:
    config = replace(CONFIG, steps=1)
    train(make(tmp_path), PROMPTS, gold, config, tmp_path, what={"scorers": ["gold"]})
    train(make(tmp_path), PROMPTS, gold, config, tmp_path, what={"scorers": ["silver"]})
    for part in ("trained", "lm"):
        other = make(tmp_path)
        with torch.no_grad():
            next(getattr(other, part).parameters()).view(-1)[0] += 1e-3
        train(other, PROMPTS, gold, config, tmp_path, what={"scorers": ["gold"]})
    train(make(tmp_path), PROMPTS, gold, config, tmp_path, what={"scorers": ["gold"]})
    parts = 1 if other.trained is other.lm else 2
    assert len([place for place in tmp_path.iterdir() if list(place.glob("step-*"))]) == 2 + parts


def test_a_policy_that_says_the_same_to_everybody_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def always_gold(episodes: Episodes) -> Rewards:
        return {"gold": [float(text.endswith(" gold gold")) for text in episodes.refined]}

    config = replace(CONFIG, steps=20, learning_rate=1e-2, kl_coef=0.0, max_new_tokens=2)
    history = train(causal(), PROMPTS, always_gold, config, tmp_path)
    assert (history[-1]["collapse/greedy_distinct"], history[-1]["collapse/greedy_same"]) == (0.25, 1.0)
    assert "greedy answers add the same words to 100% of different prompts" in caplog.text


def test_a_failed_reward_counts_nowhere(tmp_path: Path) -> None:
    def first_half(episodes: Episodes) -> Rewards:
        numbers = gold(episodes)["gold"]
        return {"gold": [number if row < 16 else None for row, number in enumerate(numbers)]}

    history = train(causal(), PROMPTS, first_half, replace(CONFIG, steps=2), tmp_path / "half")
    assert history[0]["objective/failed"] == 0.5
    with pytest.raises(BadInput, match="no number from the reward for any episode of step 1"):
        train(causal(), PROMPTS, lambda e: {"gold": [None] * len(e.prompts)}, CONFIG, tmp_path / "none")


def test_micro_batches_change_nothing(tmp_path: Path) -> None:
    ends = []
    for micro in (5, 32):
        policy = causal()
        config = replace(CONFIG, steps=2, micro_batch_size=micro)
        train(policy, PROMPTS, gold, config, tmp_path / str(micro))
        ends.append(state(policy.trained))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], atol=1e-4, rtol=1e-3)


def test_kl_holds_the_policy_back(tmp_path: Path) -> None:
    kl = [
        train(causal(), PROMPTS, gold, replace(CONFIG, kl_coef=coef, steps=10), tmp_path / str(coef))[-1][
            "objective/kl"
        ]
        for coef in (0.0, 3.0)
    ]
    assert kl[1] < 0.3 * kl[0]


def test_the_same_prompts_under_rloo_come_in_groups(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def watch(episodes: Episodes) -> Rewards:
        seen.append(list(episodes.prompts))
        return gold(episodes)

    train(causal(), PROMPTS, watch, replace(CONFIG, advantage="rloo", rloo_k=8, steps=1), tmp_path)
    assert [len(set(seen[0][start : start + 8])) for start in range(0, 32, 8)] == [1, 1, 1, 1]
    assert set(seen[0]) == set(PROMPTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"advantage": "vtrace"}, "expected one of gae, rloo"),
        ({"batch_size": 30, "num_mini_batches": 4}, "expected a multiple of"),
        ({"kl_estimator": "k2"}, "expected one of k1, k3"),
        ({"temperature": 0.0}, "expected more than 0"),
        ({"advantage": "rloo", "rloo_k": 1}, "at least 2"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0, expected at least 1"),
        ({"kl_target": 0.5, "kl_horizon": 0}, "kl_horizon is 0, expected at least 1"),
        ({"reward_weights": {"a": 0.0}}, "not all 0"),
        ({"reward_weights": {"a": float("nan"), "b": 1.0}}, "not all 0"),
    ],
)
def test_bad_settings_are_one_line(change: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        replace(CONFIG, **change)  # type: ignore[arg-type]

"""Fine-tuning of a causal language model: what carries loss, LoRA, and the folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from core.errors import BadInput
from refiner import read_manifest
from refiner.folder import Manifest
from refiner.lm import LmConfig, build_lm, load_tokenizer
from refiner.presets import PRESETS
from refiner.prip.config import DECODERS, miniworld_config
from refiner.sft import SftPair, save_causal, sft_loss, train_sft
from refiner.tokenizer import train_tokenizer
from refiner.train_config import TrainConfig
from tests.refiner.tiny import GPT2, tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow
PAIRS = [SftPair("red boat .", "the red boat , gold"), SftPair("sea", "the sea"), SftPair("", "sky")]


def test_only_targets_and_their_ends_carry_loss() -> None:
    lm, tokenizer = tiny_lm().eval(), tiny_tokenizer()
    loss, count = sft_loss(lm, tokenizer, PAIRS, 64)
    assert count == 6 + 3 + 2
    by_hand = 0.0
    for source, target in PAIRS:
        start = tokenizer(source)["input_ids"] or [0]  # nothing to read: the end token begins
        goal = [*tokenizer(target)["input_ids"], 0]
        logprobs = lm(input_ids=torch.tensor([start + goal])).logits[0].log_softmax(-1)
        by_hand -= sum(logprobs[len(start) - 1 + place, token].item() for place, token in enumerate(goal))
    assert loss.item() == pytest.approx(by_hand, rel=1e-4)


def test_long_pairs_lose_the_end_of_their_target() -> None:
    _, count = sft_loss(tiny_lm(), tiny_tokenizer(), PAIRS[:1], 6)
    assert count == 3


def test_it_learns_and_its_folder_loads_without_us(tmp_path: Path) -> None:
    lm, tokenizer = tiny_lm(), tiny_tokenizer()
    config = TrainConfig(max_steps=60, batch_size=8, learning_rate=1e-2, eval_every=20)
    history = train_sft(lm, tokenizer, PAIRS, config, tmp_path / "training", evaluation=PAIRS)
    assert history[-1]["eval_loss"] < 0.3 < history[0]["loss"]
    save_causal(tmp_path / "r", lm, tokenizer, Manifest("", "tiny", "CC0-1.0", settings={"template": "x"}))
    assert read_manifest(tmp_path / "r").kind == "causal"
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "r")
    ids = torch.tensor([load_tokenizer(str(tmp_path / "r"))("sea")["input_ids"]])
    torch.testing.assert_close(again(ids).logits, lm(ids).logits)
    written = again.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    assert tokenizer.decode(written, skip_special_tokens=True).split() == ["the", "sea"]


def test_what_decides_the_loss_beside_the_pairs_makes_another_training(tmp_path: Path) -> None:
    config = TrainConfig(max_steps=1, batch_size=2)
    train_sft(tiny_lm(), tiny_tokenizer(), PAIRS, config, tmp_path, max_tokens=8)
    other = tiny_tokenizer()
    other.add_tokens(["gold boat"])
    for tokenizer, longest in ((tiny_tokenizer(), 9), (other, 8), (tiny_tokenizer(), 8)):
        train_sft(tiny_lm(), tokenizer, PAIRS, config, tmp_path, max_tokens=longest)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"shape": {**GPT2, "n_embd": 10, "n_head": 3}},
        {"shape": {**GPT2, "n_head": 0}},
        {"shape": GPT2, "dropout": 1.5},
        {"shape": GPT2, "lora_r": -1},
    ],
)
def test_a_model_that_cannot_be_is_one_line(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="expected"):
        LmConfig(**change)


def test_lora_trains_its_matrices_and_is_merged_into_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    lm = build_lm(LmConfig(shape=GPT2, lora_r=4, gradient_checkpointing=True), tokenizer)
    trained = {name for name, parameter in lm.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora" in name for name in trained)
    config = TrainConfig(max_steps=40, batch_size=8, learning_rate=3e-2)
    history = train_sft(lm, tokenizer, PAIRS, config, tmp_path / "training", evaluation=PAIRS)
    assert history[-1]["eval_loss"] < 2.5
    ids = torch.tensor([[3, 4, 5]])
    before = lm(ids).logits
    save_causal(tmp_path / "r", lm, tokenizer, Manifest("", "tiny", "CC0-1.0"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "r")
    torch.testing.assert_close(again(ids).logits, before, atol=1e-4, rtol=1e-4)


def test_bf16_learns(tmp_path: Path) -> None:
    lm, tokenizer = tiny_lm(), tiny_tokenizer()
    config = TrainConfig(max_steps=40, batch_size=8, learning_rate=1e-2, bf16=True)
    history = train_sft(lm, tokenizer, PAIRS, config, tmp_path, evaluation=PAIRS)
    assert history[-1]["eval_loss"] < 1.0
    assert {parameter.dtype for parameter in lm.parameters()} == {torch.float32}


def test_a_model_that_is_not_there_is_one_line() -> None:
    with pytest.raises(BadInput, match="expected a cached or reachable hub id"):
        load_tokenizer("/no/such/folder")
    with pytest.raises(BadInput, match="expected n_embd, n_layer, n_head, n_positions"):
        LmConfig(shape={"n_embd": 8})


def test_the_learned_vocabulary_is_lossless() -> None:
    tokenizer = train_tokenizer(["a red boat, sharp focus", "a red cat, sharp focus"] * 20, 300)
    for text in ("a red boat, sharp focus", "Ein Boot -- größer!", "海边的红船", "  two  spaces\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer(", sharp focus")["input_ids"]) < len(", sharp focus")
    assert tokenizer.eos_token_id is not None


def test_presets_are_whole() -> None:
    assert set(PRESETS) == {"beautifulprompt", "neuroprompts", "promptist", "miniworld"}
    assert set(DECODERS) == {"llama-2-7b", "tinyllama", "gpt2-large"}
    small = miniworld_config()
    assert small.encoder.base == small.decoder.lm.base == ""

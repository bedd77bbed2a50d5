"""A language model with random weights over a few pieces of text, small enough to enumerate all that it can say."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

END = "</s>"


def tiny_tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with these tokens, whose texts are simply joined; id 0 ends, begins and pads."""
    model = Tokenizer(models.Unigram([(END, 0.0), *((piece, -1.0) for piece in pieces)], unk_id=0))
    model.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token=END, bos_token=END, pad_token=END)


CONFIGS = {
    "gpt2": lambda size: GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "llama": lambda size: LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    ),
    "bloom": lambda size: BloomConfig(vocab_size=size, hidden_size=16, n_layer=2, n_head=2),
}  # fmt: skip


def tiny_model(kind: str, vocabulary: int, seed: int = 0) -> Any:
    """Return a model with random weights, spread enough that its choices differ clearly."""
    torch.manual_seed(seed)
    config = CONFIGS[kind](vocabulary)
    config.initializer_range = 0.6
    config.bos_token_id = config.eos_token_id = config.pad_token_id = 0
    return AutoModelForCausalLM.from_config(config).eval()


def tiny_gpt2(vocabulary: int, seed: int = 0) -> Any:
    """Return a GPT-2 with random weights."""
    return tiny_model("gpt2", vocabulary, seed)

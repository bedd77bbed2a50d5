"""Models small enough to be trained in seconds, over a vocabulary of a dozen words."""

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from refiner.lm import LmConfig, build_lm
from refiner.prip.config import PripConfig
from refiner.prip.decoder import DecoderConfig
from refiner.prip.encoder import EncoderConfig
from refiner.prip.model import Prip, build_prip

WORDS = "red blue green gold boat house sea sky a the , .".split()
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}


def tiny_tokenizer() -> Any:
    """One token a word; <end> begins, ends and pads; <unk> for everything else."""
    vocabulary = {word: index for index, word in enumerate(["<end>", "<unk>", *WORDS])}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<end>", eos_token="<end>", pad_token="<end>", unk_token="<unk>"
    )


def tiny_lm(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return build_lm(LmConfig(shape=GPT2, **changes), tiny_tokenizer())


def tiny_config(queries: int = 4, width: int = 6) -> PripConfig:
    return PripConfig(
        encoder=EncoderConfig(base="", shape=T5, queries=queries, pivot_width=width, max_tokens=12),
        decoder=DecoderConfig(lm=LmConfig(shape=GPT2), left="the ", right=" a ", max_tokens=16),
    )


def tiny_prip(seed: int = 0, **changes: Any) -> Prip:
    torch.manual_seed(seed)
    return build_prip(tiny_config(**changes), tiny_tokenizer())

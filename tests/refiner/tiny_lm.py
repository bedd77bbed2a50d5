"""A language model with random weights over a few pieces of text, small enough to enumerate all that it can say."""

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "</s>"


def tiny_tokenizer(pieces: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with these tokens, whose texts are simply joined; id 0 ends, begins and pads."""
    model = Tokenizer(models.Unigram([(END, 0.0), *((piece, -1.0) for piece in pieces)], unk_id=0))
    model.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token=END, bos_token=END, pad_token=END)


def tiny_gpt2(vocabulary: int, seed: int = 0, positions: int = 64) -> GPT2LMHeadModel:
    """Return a GPT-2 with random weights, spread enough that its choices differ clearly."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=positions, initializer_range=0.6,
        bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()

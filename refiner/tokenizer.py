"""A small byte-level vocabulary for refiners that are trained from scratch. Heavy: imports transformers."""

from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"


def train_tokenizer(texts: Iterable[str], vocabulary: int = 1000) -> PreTrainedTokenizerFast:
    """Learn a byte-pair vocabulary in GPT-2's form: lossless, no text is unknown, spaces belong to the next word.

    One token, `<|endoftext|>`, begins, ends and pads, as in GPT-2. The same texts give the same vocabulary.

    Args:
        texts: what to learn from.
        vocabulary: tokens in all, at least 257 (the bytes and the end).
    """
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=model, bos_token=END, eos_token=END, pad_token=END)
    return tokenizer

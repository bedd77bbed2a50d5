"""The preference encoder E: from a user's prompt to the pivot of the picture that the user would like best."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Stack

from core.errors import BadInput
from refiner.lm import load_pretrained, padded

_T5_FIELDS = ("d_model", "d_kv", "d_ff", "num_layers", "num_heads")


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of E.

    Attributes:
        base: hub id or folder of a T5 to start from; "" = a T5 of `shape` with fresh weights.
        shape: `d_model`, `d_kv`, `d_ff`, `num_layers` (in each of the two stacks), `num_heads` of a fresh T5.
        dropout: of a fresh T5.
        queries: learned query vectors = vectors of the pivot.
        pivot_width: width of each.
        max_tokens: longer prompts are cut.
    """

    base: str = "google/flan-t5-large"
    shape: Mapping[str, int] = field(default_factory=dict)
    dropout: float = 0.1
    queries: int = 32
    pivot_width: int = 768
    max_tokens: int = 128

    def __post_init__(self) -> None:
        if not self.base and set(self.shape) != set(_T5_FIELDS):
            raise BadInput(f"encoder shape has {sorted(self.shape)}, expected {', '.join(_T5_FIELDS)}, or name a base")
        if min(self.queries, self.pivot_width, self.max_tokens) < 1:
            raise BadInput(f"encoder: got {self}, expected at least 1 query, of width 1, and 1 token")


class PreferenceEncoder(nn.Module):
    """T5's encoder, then T5's decoder stack over learned queries, then a linear layer (paper, section 3.2, figure 1).

    The queries take the place of the decoder's input. They see each other in both directions, unlike T5's own decoder
    inputs, and the encoder's output through cross-attention. The decoder's word embeddings and T5's output layer have
    no use here and are left out. T5's relative positions stay: its decoder has one bias for all that comes later.
    """

    def __init__(self, t5: T5Config, queries: int, pivot_width: int) -> None:
        """Make E with fresh weights.

        Args:
            t5: shape of both stacks.
            queries: how many vectors a pivot has.
            pivot_width: how wide each is.
        """
        super().__init__()
        self.config = t5
        self.encoder = T5Stack(_stack_config(t5, is_decoder=False))
        decoder: Any = T5Stack(_stack_config(t5, is_decoder=True))
        decoder.embed_tokens = None
        self.decoder = decoder
        self.queries = nn.Parameter(torch.randn(queries, t5.d_model))  # the spread of T5's own word embeddings
        self.project = nn.Linear(t5.d_model, pivot_width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return pivots (n, queries, pivot_width) of n prompts' token ids and mask (n, length)."""
        read = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        count, width = len(input_ids), len(self.queries)
        imagined = self.decoder(
            inputs_embeds=self.queries.expand(count, -1, -1),
            attention_mask=read.new_zeros(count, 1, width, width),  # additive, of four dimensions: taken as it is
            encoder_hidden_states=read,
            encoder_attention_mask=attention_mask,
        ).last_hidden_state
        return self.project(imagined)


def prompt_batch(
    tokenizer: Any, prompts: Sequence[str], max_tokens: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return token ids and mask (n, length) of prompts, each with an end token, as T5 puts one."""
    rows = tokenizer(list(prompts), add_special_tokens=False)["input_ids"]
    ids, mask = padded(
        [[*row[: max_tokens - 1], tokenizer.eos_token_id] for row in rows], tokenizer.eos_token_id, "right"
    )
    return ids.to(device), mask.to(device)


def build_encoder(config: EncoderConfig, vocabulary: int) -> PreferenceEncoder:
    """Return E: T5's weights where there is a base, fresh queries and linear layer.

    Raises:
        BadInput: the base does not load.
    """
    if not config.base:
        fields: dict[str, Any] = {**config.shape, "dropout_rate": config.dropout, "feed_forward_proj": "gated-gelu"}
        return PreferenceEncoder(T5Config(vocab_size=vocabulary, **fields), config.queries, config.pivot_width)
    t5 = load_pretrained(T5ForConditionalGeneration, config.base, dtype=torch.float32)
    with torch.device("meta"):
        model = PreferenceEncoder(t5.config, 0, 1)
    model.encoder, model.decoder = t5.encoder, t5.decoder
    model.decoder.embed_tokens = None
    model.decoder.config.use_cache = False
    model.queries = nn.Parameter(torch.randn(config.queries, t5.config.d_model))
    model.project = nn.Linear(t5.config.d_model, config.pivot_width)
    return model


def _stack_config(t5: T5Config, *, is_decoder: bool) -> T5Config:
    config: Any = copy.deepcopy(t5)
    config.is_decoder, config.use_cache = is_decoder, False
    if is_decoder:
        config.num_layers = config.num_decoder_layers
    return config

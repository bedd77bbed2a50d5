"""Drawing tokens from a causal language model that is given embeddings. Heavy: imports torch.

One loop for training and answering: an episode's tokens depend on its own random numbers, not on its place in a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import BadInput


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: after so many an episode ends without an end token.
        temperature: 0 = always the most probable token.
        top_p: smallest set of tokens with this much probability is drawn from; 1 = all. Not for PPO.
        no_repeat_ngram_size: no n-gram of this size occurs twice in what is written; 0 = no such rule. Not for PPO.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1 or self.no_repeat_ngram_size < 0:
            raise BadInput(
                f"decoding: got {self}, expected max_new_tokens >= 1, temperature >= 0, 0 < top_p <= 1 and "
                "no_repeat_ngram_size >= 0"
            )


class Context(NamedTuple):
    """What a model has read before it writes.

    Attributes:
        embeds: padded on the left, (n, length, width).
        mask: 0 on padding, (n, length), int64.
    """

    embeds: Tensor
    mask: Tensor


class Drawn(NamedTuple):
    """What a model wrote.

    Attributes:
        tokens: padded on the right with the end token, (n, new), int64.
        mask: 1 up to and with the end token, (n, new), int64.
        logprobs: of the tokens under the model as it is (temperature 1, nothing cut off), 0 on padding, (n, new).
    """

    tokens: Tensor
    mask: Tensor
    logprobs: Tensor


def positions(mask: Tensor) -> Tensor:
    """Return position ids that count the tokens under a mask, so that padding on the left shifts nothing."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


@torch.no_grad()
def draw(lm: Any, context: Context, decoding: Decoding, seeds: Sequence[int], end: int) -> Drawn:
    """Let a causal language model go on after a context.

    Args:
        lm: takes `inputs_embeds` or `input_ids`, `attention_mask`, `position_ids`, `past_key_values`.
        context: n rows.
        decoding: how tokens are chosen.
        seeds: one a row; unused at temperature 0.
        end: id of the end token.
    """
    device = context.embeds.device
    noise = torch.tensor(
        np.stack([np.random.default_rng(seed).random(decoding.max_new_tokens, dtype=np.float32) for seed in seeds]),
        device=device,
    )
    mask, inputs, cache = context.mask, {"inputs_embeds": context.embeds}, None
    place = positions(mask)
    alive = torch.ones(len(mask), dtype=torch.bool, device=device)
    tokens = torch.empty(len(mask), 0, dtype=torch.long, device=device)
    written, logprobs = torch.empty_like(tokens), torch.empty(len(mask), 0, device=device)
    was_training = lm.training
    lm.eval()  # gradient checkpointing would do without the cache
    for step in range(decoding.max_new_tokens):
        out = lm(**inputs, attention_mask=mask, position_ids=place, past_key_values=cache, use_cache=True)
        logits = out.logits[:, -1].float()
        allowed = _without_repeats(logits, tokens, decoding.no_repeat_ngram_size, end)
        chosen = torch.where(alive, _choose(allowed, decoding, noise[:, step]), end)
        logprob = torch.log_softmax(logits, dim=-1).gather(1, chosen[:, None])
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        written = torch.cat([written, alive.long()[:, None]], dim=1)
        logprobs = torch.cat([logprobs, logprob * alive[:, None]], dim=1)
        alive = alive & (chosen != end)
        if not alive.any():
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        place, cache, inputs = place[:, -1:] + 1, out.past_key_values, {"input_ids": chosen[:, None]}
    lm.train(was_training)
    return Drawn(tokens, written, logprobs)


def _choose(logits: Tensor, decoding: Decoding, noise: Tensor) -> Tensor:
    """Return one token a row: the most probable, or the one where the cumulative probability passes the noise."""
    if decoding.temperature == 0:
        return logits.argmax(dim=-1)
    ordered, order = torch.softmax(logits / decoding.temperature, dim=-1).sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(dim=-1)
    kept = ordered * (cumulative - ordered < decoding.top_p)
    cumulative = kept.cumsum(dim=-1)
    place = (cumulative <= noise[:, None] * cumulative[:, -1:]).sum(dim=-1, keepdim=True)
    return order.gather(1, place.clamp(max=logits.shape[1] - 1)).squeeze(1)


def _without_repeats(logits: Tensor, tokens: Tensor, size: int, end: int) -> Tensor:
    """Forbid tokens that would finish an n-gram which is there already; the end is always allowed."""
    if size == 0 or tokens.shape[1] < size:
        return logits
    logits = logits.clone()
    for row, past in enumerate(tokens.tolist()):
        tail = past[len(past) - size + 1 :]
        banned = [past[i + size - 1] for i in range(len(past) - size + 1) if past[i : i + size - 1] == tail]
        logits[row, [token for token in banned if token != end]] = -torch.inf
    return logits

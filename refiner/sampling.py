"""Writing with a causal language model, token by token. Heavy: imports torch.

One loop for training and answering: an episode's tokens depend on its own random numbers, not on its place in a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.errors import BadInput
from refiner.rows import Rows


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: after so many an episode ends without an end token.
        temperature: 0 = always the most probable token.
        top_k: so many most probable tokens are drawn from; 0 = all. This and all that follow: not for PPO.
        top_p: of these, the smallest set with this much of their probability is drawn from; 1 = all.
        repetition_penalty: divides positive logits of tokens that were said before, multiplies negative ones; 1 = off.
        no_repeat_ngram_size: no n-gram of this size occurs twice in what was said; 0 = no such rule.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        least = min(self.temperature, self.top_k, self.no_repeat_ngram_size)
        if self.max_new_tokens < 1 or least < 0 or not 0 < self.top_p <= 1 or not self.repetition_penalty > 0:
            raise BadInput(
                f"decoding: got {self}, expected max_new_tokens >= 1; temperature, top_k, no_repeat_ngram_size >= 0; "
                "0 < top_p <= 1; repetition_penalty > 0"
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
def draw(
    lm: Any, context: Context, decoding: Decoding, seeds: Sequence[int], end: int, *, said: Sequence[Sequence[int]] = ()
) -> Drawn:
    """Let a causal language model go on after a context. An episode that has ended costs nothing any more.

    Args:
        lm: of transformers; it may be in train mode, and is again afterwards.
        context: n rows.
        decoding: how tokens are chosen.
        seeds: one a row; unused at temperature 0.
        end: id of the end token.
        said: for each row the tokens of its context that count as said before; none = only what is written counts.
    """
    count, longest, device = len(context.mask), decoding.max_new_tokens, context.embeds.device
    tokens = torch.full((count, longest), end, device=device)
    written, logprobs = torch.zeros_like(tokens), torch.zeros(count, longest, device=device)
    was_training = lm.training
    lm.eval()  # gradient checkpointing would do without the cache
    rows = Rows(lm, {"inputs_embeds": context.embeds, "attention_mask": context.mask})
    choice = _Choice(decoding, seeds, said or [()] * count, rows.logits, end)
    places = torch.arange(count, device=device)
    for step in range(longest):
        chosen = choice.next(rows.logits, places)
        logprob = rows.logits.gather(1, chosen[:, None]).squeeze(1) - rows.logits.logsumexp(dim=-1)
        tokens[places, step], written[places, step], logprobs[places, step] = chosen, 1, logprob
        going = (chosen != end).nonzero().squeeze(1)
        if not len(going) or step + 1 == longest:
            break
        rows.keep(going.tolist())
        rows.read(chosen[going].tolist())
        places = places[going]
    lm.train(was_training)
    return Drawn(*(tensor[:, : step + 1] for tensor in (tokens, written, logprobs)))


class _Choice:
    """Chooses one token a row after the other, by logits, by what was said, and by a row's own random numbers."""

    def __init__(
        self, decoding: Decoding, seeds: Sequence[int], said: Sequence[Sequence[int]], logits: Tensor, end: int
    ) -> None:
        self._how, self._end = decoding, end
        self._step = 0
        self._said = [list(row) for row in said]
        self._penalised = torch.zeros_like(logits, dtype=torch.bool)
        for place, row in enumerate(self._said if decoding.repetition_penalty != 1 else ()):
            self._penalised[place, row] = True
        self._noise = torch.empty(len(logits), 0)
        if decoding.temperature:
            draws = [np.random.default_rng(seed).random(decoding.max_new_tokens, dtype=np.float32) for seed in seeds]
            self._noise = torch.tensor(np.stack(draws), device=logits.device)

    def next(self, logits: Tensor, places: Tensor) -> Tensor:
        """Return the next token of the rows that these places hold; `logits` are theirs, (rows, vocabulary)."""
        how = self._how
        if how.repetition_penalty != 1:
            lowered = torch.where(logits > 0, logits / how.repetition_penalty, logits * how.repetition_penalty)
            logits = torch.where(self._penalised[places], lowered, logits)
        if how.no_repeat_ngram_size:
            logits = self._without_repeats(logits, places.tolist())
        chosen = logits.argmax(dim=-1) if how.temperature == 0 else self._drawn(logits, places)
        self._step += 1
        if how.repetition_penalty != 1:
            self._penalised[places, chosen] = True
        if how.no_repeat_ngram_size:
            for place, token in zip(places.tolist(), chosen.tolist(), strict=True):
                self._said[place].append(token)
        return chosen

    def _drawn(self, logits: Tensor, places: Tensor) -> Tensor:
        """Return the tokens where the cumulative probability of those that may be drawn passes the noise."""
        how = self._how
        ordered, order = torch.softmax(logits / how.temperature, dim=-1).sort(dim=-1, descending=True, stable=True)
        if how.top_k:
            ordered, order = ordered[:, : how.top_k], order[:, : how.top_k]
        cumulative = ordered.cumsum(dim=-1)
        kept = ordered * (cumulative - ordered < how.top_p * cumulative[:, -1:])
        cumulative = kept.cumsum(dim=-1)
        passed = self._noise[places, self._step, None] * cumulative[:, -1:]
        place = (cumulative <= passed).sum(dim=-1, keepdim=True)
        return order.gather(1, place.clamp(max=order.shape[1] - 1)).squeeze(1)

    def _without_repeats(self, logits: Tensor, places: Sequence[int]) -> Tensor:
        """Forbid tokens that would finish an n-gram which is there already; the end is always allowed."""
        size, logits = self._how.no_repeat_ngram_size, logits.clone()
        for row, place in enumerate(places):
            past = self._said[place]
            starts = range(len(past) - size + 1)
            tail = past[len(past) - size + 1 :]
            banned = {past[i + size - 1] for i in starts if past[i : i + size - 1] == tail}
            logits[row, sorted(banned - {self._end})] = -torch.inf
        return logits

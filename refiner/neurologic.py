"""NeuroLogic decoding: beam search for text that meets clauses, for any causal language model (docs/neurologic.md).

After Lu et al., "NeuroLogic Decoding" (2010.12884), and with its look-ahead (2112.08726), as NeuroPrompts uses it
(2311.12229, section 2.2). Clauses are judged on text; tokens only steer. Heavy: imports torch.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch

from refiner.beam import Node, select
from refiner.neurologic_config import NeuroLogic
from refiner.rows import Rows
from refiner.search import Hypothesis, Search, Wanted
from refiner.steering import Vocabulary

__all__ = ["Hypothesis", "NeuroLogic", "Wanted", "decode"]


@torch.inference_mode()
def decode(
    model: Any,
    tokenizer: Any,
    inputs: Mapping[str, torch.Tensor],
    wanted: Sequence[Wanted],
    settings: NeuroLogic | None = None,
    *,
    n: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> list[list[Hypothesis]]:
    """Return for each prompt at most `n` continuations with different texts, best first; at least one, perhaps empty.

    None breaks an upper bound (`Clause.at_most`), and all are allowed (`Wanted.allows`) but the empty one when nothing
    else is. With a beam as wide as the space of continuations and without `early_stop` the result is exactly the best
    of them, whatever the tolerance and the look-ahead.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        tokenizer: its tokenizer.
        inputs: `attention_mask` (batch, length; int) and either `input_ids` (batch, length; int) or `inputs_embeds`
            (batch, length, width), padded on the left, on the model's device.
        wanted: for each prompt, what to look for.
        settings: how to search.
        n: continuations a prompt.
        clock: seconds of any origin, for `max_seconds`.

    Raises:
        ValueError: `inputs` has neither or both of the two, or another batch size than `wanted`.
    """
    if ("input_ids" in inputs) == ("inputs_embeds" in inputs) or len(inputs["attention_mask"]) != len(wanted):
        raise ValueError(f"got {', '.join(inputs)} for {len(wanted)} prompts, expected input_ids or inputs_embeds")
    settings = settings or NeuroLogic()
    deadline = clock() + settings.max_seconds
    rows = Rows(model, inputs)
    vocabulary = Vocabulary(tokenizer, rows.logprobs, settings.blocked)
    searches = [Search(item, vocabulary, settings, n) for item in wanted]
    for row, search in enumerate(searches):
        search.begin(row)
    width = settings.beam * (2 if settings.look_ahead else 1)  # with look-ahead twice the beam is read, half dropped
    while clock() < deadline:
        logprobs = rows.logprobs
        chosen = [select(search.children(logprobs), width, settings.sat_tolerance) for search in searches]
        if not any(chosen):
            break
        _read(rows, searches, chosen)
        if settings.look_ahead:
            _foresee(rows, searches, settings)
    return [search.results() for search in searches]


def _read(rows: Rows, searches: Sequence[Search], chosen: Sequence[Sequence[Node]]) -> None:
    """Read the last token of the chosen nodes, which are then the live ones."""
    nodes = list(chain.from_iterable(chosen))
    rows.keep([node.row for node in nodes])
    rows.read([node.tokens[-1] for node in nodes])
    _number(searches, chosen)


def _number(searches: Sequence[Search], chosen: Sequence[Sequence[Node]]) -> None:
    """Make these nodes the live ones, in rows from 0 on."""
    row = 0
    for search, nodes in zip(searches, chosen, strict=True):
        search.live = [replace(node, row=row + place) for place, node in enumerate(nodes)]
        row += len(nodes)


def _foresee(rows: Rows, searches: Sequence[Search], settings: NeuroLogic) -> None:
    """Keep those live nodes, at most a beam a search, that promise most (2112.08726, greedy look-ahead).

    The promise is the best log-probability of a token that leads towards a wanted term, now or after one of the next
    greedy tokens, up to `max_tokens`; 0 when nothing is wanted any more.
    """
    logits, barred = rows.logits, searches[0].barred
    best: dict[int, float] = {}
    said = next(len(node.tokens) for search in searches for node in search.live)
    steps = min(settings.look_ahead, settings.max_tokens - said)
    for step in range(steps):
        if step:
            rows.read((rows.logits + barred).argmax(-1).tolist())
        logprobs = rows.logprobs
        for search in searches:
            for node in search.live:
                path = () if step else node.path
                best[node.row] = max(best.get(node.row, -math.inf), search.promise(logprobs[node.row], node, path))
    rows.unread(steps - 1, logits)
    weight, chosen = settings.look_ahead_weight, []
    for search in searches:
        nodes = [replace(node, ahead=weight * best[node.row]) for node in search.live]
        chosen.append(select(nodes, settings.beam, settings.sat_tolerance))
    rows.keep([node.row for node in chain.from_iterable(chosen)])
    _number(searches, chosen)

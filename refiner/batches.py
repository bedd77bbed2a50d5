"""Prompts of a call in batches, for every model: each prompt once, those of like length together. Imports torch."""

from collections.abc import Callable, Sequence

import torch

from core.records import Refinement
from core.text import one_line

WRITTEN, SEARCHED = 64, 16
"""Prompts in memory at once: written token by token, and searched for, with a whole beam each."""


def in_batches(
    prompts: Sequence[str],
    size: int,
    fault: Callable[[str], str],
    answer: Callable[[Sequence[str]], Sequence[Sequence[Refinement]]],
) -> list[list[Refinement]]:
    """Return the refinements of each prompt, in order; equal prompts have equal ones.

    Args:
        prompts: users' prompts.
        size: prompts a batch.
        fault: why a prompt cannot be answered, "" if it can.
        answer: from a batch of different prompts without fault to the refinements of each. One that does not fit into
            memory fails.
    """
    faults = {prompt: fault(prompt) for prompt in prompts}
    found = {prompt: [Refinement(prompt, error=why)] for prompt, why in faults.items() if why}
    usable = sorted((prompt for prompt, why in faults.items() if not why), key=len)
    for start in range(0, len(usable), size):
        batch = usable[start : start + size]
        try:
            found |= zip(batch, map(list, answer(batch)), strict=True)
        except torch.OutOfMemoryError as error:
            found |= {prompt: [Refinement(prompt, error=f"out of memory: {one_line(error)}")] for prompt in batch}
    return [found[prompt] for prompt in prompts]

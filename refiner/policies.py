"""What PPO trains: a causal language model, or (refiner/prip/policy.py) an encoder in front of a frozen one."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from torch import Tensor, nn

from refiner.lm import disable_dropout, padded
from refiner.sampling import Context


class Policy(Protocol):
    """A language model that writes, and whatever decides what it has read before.

    Attributes:
        lm: writes; a causal language model, perhaps frozen.
        trained: what holds the parameters that are updated.
        end: id of the token that ends a completion.
    """

    lm: Any
    trained: nn.Module
    end: int

    def context(self, prompts: Sequence[str]) -> Context:
        """Return what `lm` has read when it begins to write for each prompt; gradients flow through it."""
        ...

    def texts(self, prompts: Sequence[str], tokens: Tensor, mask: Tensor) -> list[str]:
        """Return whole refined prompts from completions (n, new)."""
        ...

    def reference(self) -> AbstractContextManager[None]:
        """Inside this context the policy is what it was before training."""
        ...


class CausalPolicy:
    """A causal language model that reads a template with the user's prompt and writes the refined one.

    All its parameters are trained and a frozen copy is the reference; with LoRA only the matrices are trained, and the
    model without them is the reference.
    """

    def __init__(
        self, lm: Any, tokenizer: Any, source: Callable[[str], str], result: Callable[[str, str], str]
    ) -> None:
        """Make a policy.

        Args:
            lm: the model after supervised training.
            tokenizer: its tokenizer.
            source: from a user's prompt to the text that the model reads.
            result: from a user's prompt and a completion to the whole refined prompt.
        """
        disable_dropout(lm)
        self.lm = self.trained = lm
        self.end = int(tokenizer.eos_token_id)
        self._tokenizer, self._source, self._result = tokenizer, source, result
        self._before = None if hasattr(lm, "disable_adapter") else copy.deepcopy(lm).requires_grad_(False)

    def context(self, prompts: Sequence[str]) -> Context:
        """Return the embedded templates."""
        rows = self._tokenizer([self._source(prompt) for prompt in prompts], add_special_tokens=False)["input_ids"]
        embed = self.lm.get_input_embeddings()
        ids, mask = (tensor.to(embed.weight.device) for tensor in padded(rows, self.end, "left"))
        return Context(embed(ids), mask)

    def texts(self, prompts: Sequence[str], tokens: Tensor, mask: Tensor) -> list[str]:
        """Return `result` of every completion."""
        rows = [row[kept.bool()].tolist() for row, kept in zip(tokens, mask, strict=True)]
        written = self._tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [self._result(prompt, text) for prompt, text in zip(prompts, written, strict=True)]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Write with the copy, or without LoRA's matrices."""
        if self._before is None:
            with self.lm.disable_adapter():
                yield
            return
        trained, self.lm = self.lm, self._before.to(next(self.lm.parameters()).device)
        try:
            yield
        finally:
            self.lm = trained

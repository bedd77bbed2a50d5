"""PRIP's policy for PPO: E is trained through the frozen D (paper, section 3.4)."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from refiner.answer import join, prefix_of
from refiner.lm import disable_dropout
from refiner.prip.model import Prip
from refiner.sampling import Context


class PripPolicy:
    """Log-probabilities are over D's tokens given E's pivot; their gradient passes through D into E and stops there."""

    def __init__(self, prip: Prip) -> None:
        """Freeze D and keep a frozen copy of E as the reference."""
        for part in (prip.encoder, prip.decoder):
            disable_dropout(part)
        prip.decoder.requires_grad_(False).train()  # for gradient checkpointing; there is no dropout left
        prip.encoder.requires_grad_(True)
        self._prip = prip
        self._before = copy.deepcopy(prip.encoder).requires_grad_(False)
        self.trained = prip.encoder
        self.lm = prip.decoder.lm
        self.end = prip.decoder.end

    def context(self, prompts: Sequence[str]) -> Context:
        """Return template, E's pivots and the users' prompts as prefixes, embedded."""
        return self._prip.context(prompts, [prefix_of(prompt) for prompt in prompts])

    def texts(self, prompts: Sequence[str], tokens: Tensor, mask: Tensor) -> list[str]:
        """Return prefixes with their continuations."""
        written = self._prip.decoder.decode(tokens, mask)
        return [join(prompt, text) for prompt, text in zip(prompts, written, strict=True)]

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Imagine with the copy of E."""
        self._prip.encoder = self._before.to(self.trained.queries.device)
        try:
            yield
        finally:
            self._prip.encoder = self.trained

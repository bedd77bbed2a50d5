"""Reading text with a causal language model, one token at a time, many rows at once. Heavy: imports torch."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch


class Rows:
    """A causal language model of transformers, the keys and values of what each row has read, and what comes next.

    Attributes:
        logits: (rows, vocabulary), float32.
    """

    logits: torch.Tensor

    def __init__(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> None:
        """Read the beginnings: `attention_mask` and `input_ids` or `inputs_embeds`, padded on the left."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft hides the signature
        accepted = inspect.signature(base.forward).parameters
        self._model = model
        self._extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self._positional = "position_ids" in accepted
        self._cache: Any = None
        self._mask = inputs["attention_mask"]
        fed = {key: value for key, value in inputs.items() if key in ("input_ids", "inputs_embeds")}
        self._forward(fed, (self._mask.cumsum(-1) - 1).clamp(min=0))

    @property
    def logprobs(self) -> torch.Tensor:
        """Log-probabilities of what comes next, (rows, vocabulary), float32; worked out at each call."""
        return self.logits.log_softmax(-1)

    def keep(self, rows: Sequence[int]) -> None:
        """Make these the rows, in this order; some may be dropped, some repeated."""
        if list(rows) == list(range(len(self._mask))):
            return
        chosen = torch.tensor(rows, device=self._mask.device)
        self._cache.batch_select_indices(chosen)
        self._mask, self.logits = self._mask[chosen], self.logits[chosen]

    def read(self, tokens: Sequence[int]) -> None:
        """Read one more token a row."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        fed = torch.tensor(tokens, device=self._mask.device)[:, None]
        self._forward({"input_ids": fed}, self._mask.sum(-1, keepdim=True) - 1)

    def unread(self, tokens: int, logits: torch.Tensor) -> None:
        """Forget the last tokens of every row and what came of them."""
        if tokens:
            self._cache.crop(-tokens)
            self._mask = self._mask[:, :-tokens]
        self.logits = logits

    def _forward(self, fed: Mapping[str, torch.Tensor], positions: torch.Tensor) -> None:
        extra = {**self._extra, **({"position_ids": positions} if self._positional else {})}
        out = self._model(
            **fed, attention_mask=self._mask, past_key_values=self._cache, use_cache=True, return_dict=True, **extra
        )
        self._cache = out.past_key_values
        self.logits = out.logits[:, -1].float()

"""The prompt decoder D: from a pivot to the prompt that makes the system draw its picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from core.errors import BadInput
from refiner.lm import LmConfig, padded
from refiner.sampling import Context, positions

_PIVOT = -1
"""Stands in a row of token ids where a vector of the pivot goes."""


@dataclass(frozen=True)
class DecoderConfig:
    """The shape of D.

    Attributes:
        lm: the language model.
        left: what it reads before the pivot.
        right: what it reads between the pivot and the prompt it is to write. Both end a line, so that a prompt's first
            word is tokenised as at the start of a text, by every tokenizer.
        max_tokens: longer prompts are cut at their end, longer prefixes at their start.
    """

    lm: LmConfig = field(default_factory=lambda: LmConfig("meta-llama/Llama-2-7b-hf", gradient_checkpointing=True))
    left: str = "A picture:\n"
    right: str = "\nThe prompt that draws it:\n"
    max_tokens: int = 128


class PromptDecoder(nn.Module):
    """A causal language model that reads [begin] left [projected pivot] right and writes a prompt (section 3.2)."""

    def __init__(self, lm: Any, tokenizer: Any, pivot: tuple[int, int], config: DecoderConfig) -> None:
        """Put a fresh projection before a language model.

        Args:
            lm: a Hugging Face causal language model.
            tokenizer: its tokenizer, with an end token.
            pivot: how many vectors a pivot has, and their width.
            config: template and limits.

        Raises:
            BadInput: the language model has too few positions.
        """
        super().__init__()
        self.vectors, pivot_width = pivot
        self.lm = lm
        self.tokenizer = tokenizer
        self.config = config
        self.project = nn.Linear(pivot_width, lm.get_input_embeddings().weight.shape[1])
        begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        self._left = [begin, *self._ids(config.left)]
        self._right = self._ids(config.right)
        if self.room < 1:
            raise BadInput(
                f"decoder: got {lm.config.max_position_embeddings} positions, expected more than template, pivot and "
                f"{config.max_tokens} tokens of a prompt need; lower max_tokens"
            )

    @property
    def end(self) -> int:
        """Id of the token that ends a prompt."""
        return int(self.tokenizer.eos_token_id)

    @property
    def room(self) -> int:
        """Tokens that can be written after the longest prefix before the model runs out of positions."""
        longest: int = self.lm.config.max_position_embeddings
        return longest - len(self._left) - self.vectors - len(self._right) - self.config.max_tokens

    def forward(self, pivots: Tensor | None, texts: Sequence[str]) -> tuple[Tensor, int]:
        """Return the summed loss over the prompts' tokens and their ends, and how many these are (equation 7).

        Template, pivot and padding are read and carry no loss.

        Args:
            pivots: (n, queries, pivot_width); None = the place of the pivot is left out (ablation without decoding).
            texts: n system-language prompts.
        """
        targets = [[*self._ids(text)[: self.config.max_tokens], self.end] for text in texts]
        starts = self._starts(pivots, [""] * len(texts))
        rows = [start + target for start, target in zip(starts, targets, strict=True)]
        embeds, mask = self._embed(rows, pivots, "right")
        labels, _ = padded([[-100] * len(s) + t for s, t in zip(starts, targets, strict=True)], -100, "right")
        labels = labels[:, 1:].to(mask.device)
        logits = self.lm(inputs_embeds=embeds, attention_mask=mask, position_ids=positions(mask)).logits[:, :-1]
        loss = functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1), ignore_index=-100, reduction="sum"
        )
        return loss, int((labels != -100).sum())

    def context(self, pivots: Tensor, prefixes: Sequence[str]) -> Context:
        """Return what D has read when it starts to write: template, pivots (n, queries, pivot_width), prefixes."""
        return Context(*self._embed(self._starts(pivots, prefixes), pivots, "left"))

    def decode(self, tokens: Tensor, mask: Tensor) -> list[str]:
        """Return what the tokens under the mask say, each (n, new)."""
        rows = [row[kept.bool()].tolist() for row, kept in zip(tokens, mask, strict=True)]
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _starts(self, pivots: Tensor | None, prefixes: Sequence[str]) -> list[list[int]]:
        middle = [_PIVOT] * (self.vectors if pivots is not None else 0)
        return [self._left + middle + self._right + self._ids(prefix)[-self.config.max_tokens :] for prefix in prefixes]

    def _embed(self, rows: Sequence[Sequence[int]], pivots: Tensor | None, side: str) -> tuple[Tensor, Tensor]:
        ids, mask = (tensor.to(self.project.weight.device) for tensor in padded(rows, self.end, side))
        embeds = self.lm.get_input_embeddings()(ids.clamp(min=0))
        if pivots is not None:
            projected = self.project(pivots).to(embeds.dtype)
            embeds = embeds.masked_scatter((ids == _PIVOT).unsqueeze(-1), projected)
        return embeds, mask

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

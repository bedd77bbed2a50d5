"""How much of a prompt a pipeline's text encoders read, and which words they do not."""

import copy
import inspect
from dataclasses import dataclass
from typing import Any

from core.records import UnreadEnd

_LARGEST = 10**6
"""A tokenizer without a limit of its own says a number far above this."""


@dataclass(frozen=True)
class Encoder:
    """One text encoder of a pipeline: its component's name, its tokenizer, and how many tokens it reads.

    `tokens` counts those of the prompt: without the special ones that are put around it. The tokenizer is a copy: each
    call sets truncation and padding inside it, and the pipeline uses its own in another thread meanwhile.
    """

    name: str
    tokenizer: Any
    tokens: int

    def unread(self, prompt: str) -> UnreadEnd:
        """Return the end of the prompt that this encoder does not read."""
        found = self.tokenizer(prompt, add_special_tokens=False, truncation=False, return_offsets_mapping=True)
        offsets = found["offset_mapping"]
        dropped = len(offsets) - self.tokens
        return UnreadEnd(prompt[offsets[self.tokens][0] :].strip(), dropped) if dropped > 0 else UnreadEnd()


def encoders_of(pipeline: Any) -> tuple[Encoder, ...]:
    """Return a pipeline's text encoders with their windows; none when any of them is of an unknown kind.

    CLIP reads its tokenizer's `model_max_length` (77), T5 the pipeline's `max_sequence_length` (SD3: 256, FLUX: 512);
    both as `encode_prompt` of these pipelines does. Encoders that a folder leaves out (SD3 without T5) do not count.
    """
    found = []
    for number in ("", "_2", "_3", "_4"):
        tokenizer: Any = getattr(pipeline, f"tokenizer{number}", None)
        encoder = getattr(pipeline, f"text_encoder{number}", None)
        if encoder is None:
            continue
        limit = _limit(encoder.config.model_type, tokenizer, pipeline)
        if limit is None:
            return ()
        tokens = limit - tokenizer.num_special_tokens_to_add()
        found.append(Encoder(f"text_encoder{number}", copy.deepcopy(tokenizer), tokens))
    return tuple(found)


def unread_by_all(encoders: tuple[Encoder, ...], prompt: str) -> UnreadEnd:
    """Return the end of a prompt that no encoder reads: what any one of them reads counts as read."""
    return min((encoder.unread(prompt) for encoder in encoders), key=lambda end: len(end.text), default=UnreadEnd())


def window_note(encoders: tuple[Encoder, ...]) -> str:
    """Say how much each encoder reads, when they differ; "" otherwise."""
    if len({encoder.tokens for encoder in encoders}) < 2:
        return ""
    parts = ", ".join(f"{encoder.name} {encoder.tokens}" for encoder in encoders)
    return f"tokens of a prompt that are read: {parts}; what only one of them reads counts as read"


def _limit(kind: str, tokenizer: Any, pipeline: Any) -> int | None:
    """Return how many tokens an encoder gets, special ones included; None when that is not known."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    if kind.startswith("clip"):
        limit = tokenizer.model_max_length
    elif kind in ("t5", "umt5"):
        parameter = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
        limit = parameter.default if parameter else None
    else:
        limit = None
    return limit if isinstance(limit, int) and limit < _LARGEST else None

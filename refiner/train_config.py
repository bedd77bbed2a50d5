"""Supervised training's settings, and what follows from them alone: schedule and data order. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Protocol

from core.errors import BadInput
from core.seeding import generator

_SCHEDULES = ("cosine", "constant")


class Optimisation(Protocol):
    """What every training config says of its optimiser."""

    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def schedule(self) -> str: ...  # noqa: D102
    @property
    def warmup_ratio(self) -> float: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def betas(self) -> tuple[float, float]: ...  # noqa: D102
    @property
    def eps(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Names are those of transformers' TrainingArguments where it has them.

    Attributes:
        epochs: passes over the data; a fraction is allowed.
        max_steps: optimiser steps; 0 = as many as `epochs` says.
        batch_size: examples a step, over all devices.
        micro_batch_size: examples in memory at once, on each device; the result does not depend on it.
        learning_rate: the highest.
        schedule: `cosine` (to 0) or `constant`, after the warm-up.
        warmup_ratio: share of the steps with a linear warm-up.
        weight_decay: AdamW's.
        betas: AdamW's.
        eps: AdamW's.
        max_grad_norm: longer gradients are shortened to it.
        eval_every: steps between evaluations; 0 = at the end only.
        checkpoint_every: steps between checkpoints.
        bf16: autocast to bfloat16 (weights stay float32).
        seed: of the data order and of dropout.
    """

    epochs: float = 1.0
    max_steps: int = 0
    batch_size: int = 32
    micro_batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    eval_every: int = 0
    checkpoint_every: int = 200
    bf16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.schedule not in _SCHEDULES:
            raise BadInput(f"schedule is {self.schedule!r}, expected one of {', '.join(_SCHEDULES)}")
        for name in ("batch_size", "micro_batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("max_steps", "eval_every"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name} is {getattr(self, name)}, expected at least 0")
        for name in ("epochs", "learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} is {getattr(self, name)}, expected more than 0")

    def steps(self, examples: int) -> int:
        """Return the optimiser steps over so many examples."""
        return self.max_steps or max(1, math.ceil(self.epochs * examples / self.batch_size))


def check_seed(seed: int) -> None:
    """Refuse what the global generators cannot be seeded with.

    Raises:
        BadInput: the seed is no number of 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise BadInput(f"seed is {seed}, expected 0 to {2**32 - 1}; change it")


def data_order(examples: int, seed: int, first: int, count: int) -> list[int]:
    """Return indices at places `first` to `first + count` of an endless row of permutations, one an epoch.

    So every batch is full, and the data of a step is a function of its number: nothing of it needs to be stored.
    """
    order: list[int] = []
    for epoch in range(first // examples, (first + count - 1) // examples + 1):
        order += generator("data-order", seed, epoch).permutation(examples).tolist()
    offset = first % examples
    return order[offset : offset + count]


def rate_at(step: int, steps: int, config: Optimisation) -> float:
    """Return the learning rate of a step in [0, steps)."""
    warmup = math.ceil(config.warmup_ratio * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

"""The loop that supervised training shares: data order, schedule, accumulation, evaluation, checkpoints. Imports torch.

Several GPUs: start it under `accelerate launch`; each process takes its share of every batch, and gradients are summed
over the processes before each step, so that one process and several do the same.
"""

import json
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from core.errors import BadInput
from core.seeding import generator
from core.text import digest
from refiner.checkpoint import Checkpoints

Example = TypeVar("Example")
Loss = Callable[[nn.Module, Sequence[Example]], tuple[Tensor, int]]
"""From a model and some examples to a summed loss and how many things it sums over (tokens, numbers)."""

logger = logging.getLogger(__name__)
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
        if self.schedule not in _SCHEDULES:
            raise BadInput(f"schedule is {self.schedule!r}, expected one of {', '.join(_SCHEDULES)}")
        for name in ("batch_size", "micro_batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("epochs", "learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} is {getattr(self, name)}, expected more than 0")

    def steps(self, examples: int) -> int:
        """Return the optimiser steps over so many examples."""
        return self.max_steps or max(1, math.ceil(self.epochs * examples / self.batch_size))


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


def adamw(model: nn.Module, config: Optimisation) -> torch.optim.AdamW:
    """Return AdamW over the parameters that require gradients."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
    )


def fit(
    model: nn.Module,
    examples: Sequence[Example],
    loss: Loss[Example],
    config: TrainConfig,
    folder: Path,
    *,
    evaluation: Sequence[Example] = (),
) -> list[dict[str, float]]:
    """Train a model in place, from the folder's last checkpoint if there is one.

    On one CPU process, a training that was killed and started again ends with the same bits as one that went through.

    Args:
        model: its parameters that require gradients are trained. It ends in eval mode, with the best parameters by
            evaluation loss, the last ones without `evaluation`.
        examples: at least one.
        loss: see `Loss`.
        config: how.
        folder: of the checkpoints; for this training alone.
        evaluation: held-out examples.

    Returns:
        What was measured: `step`, `loss` (mean since the last record), `grad_norm`, `lr`, `eval_loss`.

    Raises:
        BadInput: no examples, or the folder holds checkpoints of another training.
    """
    if not examples:
        raise BadInput("training: got no examples, expected at least one; check the data and its filters")
    accelerator = Accelerator()
    if config.batch_size % accelerator.num_processes:
        got = f"batch_size is {config.batch_size}"
        raise BadInput(f"{got}, expected a multiple of {accelerator.num_processes} processes; change it")
    steps = config.steps(len(examples))
    places = Checkpoints(folder, _fingerprint(config, examples, evaluation))
    seed_everything(config.seed)
    model.to(accelerator.device)
    share_weights(model)
    optimiser = adamw(model, config)
    first, state = places.load(model, optimiser) or (0, {"history": [], "best": None, "losses": []})
    model.train()
    for step in range(first, steps):
        rate = set_rate(optimiser, step, steps, config)
        indices = data_order(len(examples), config.seed, step * config.batch_size, config.batch_size)
        batch = [examples[index] for index in indices[accelerator.process_index :: accelerator.num_processes]]
        state["losses"].append(_backward(accelerator, model, batch, loss, config))
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimiser.step()
        done = step + 1
        if done == steps or (config.eval_every and done % config.eval_every == 0):
            record = {"step": done, "loss": float(np.mean(state["losses"])), "grad_norm": float(norm), "lr": rate}
            state["losses"] = []
            if evaluation:
                record["eval_loss"] = evaluate(model, evaluation, loss, config)
                if state["best"] is None or record["eval_loss"] < state["best"]:
                    state["best"] = record["eval_loss"]
                    places.save_best(model, main=accelerator.is_main_process)
            state["history"].append(record)
            logger.info("step %d of %d: %s", done, steps, _shown(record))
        if done == steps or done % config.checkpoint_every == 0:
            places.save(done, model, optimiser, state, main=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    if evaluation:
        places.load_best(model)
    model.eval()
    return state["history"]


def _backward(
    accelerator: Accelerator, model: nn.Module, batch: Sequence[Example], loss: Loss[Example], config: TrainConfig
) -> float:
    """Leave the gradient of the batch's mean loss in the parameters and return that loss."""
    model.zero_grad()
    total = torch.zeros(2, device=accelerator.device)
    for start in range(0, len(batch), config.micro_batch_size):
        with autocast(accelerator.device, config.bf16):
            value, count = loss(model, batch[start : start + config.micro_batch_size])
        value.backward()
        total += torch.tensor([value.item(), count], device=accelerator.device)
    total = accelerator.reduce(total)
    things = max(total[1].item(), 1)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad = accelerator.reduce(parameter.grad, "sum") / things
    return total[0].item() / things


@torch.no_grad()
def evaluate(model: nn.Module, examples: Sequence[Example], loss: Loss[Example], config: TrainConfig) -> float:
    """Return the mean loss over examples, in eval mode; the model's mode and the random state stay as they were."""
    was_training = model.training
    model.eval()
    total, things = 0.0, 0
    device = next(model.parameters()).device
    for start in range(0, len(examples), config.micro_batch_size):
        with autocast(device, config.bf16):
            value, count = loss(model, examples[start : start + config.micro_batch_size])
        total, things = total + value.item(), things + count
    model.train(was_training)
    return total / max(things, 1)


def set_rate(optimiser: torch.optim.Optimizer, step: int, steps: int, config: Optimisation) -> float:
    """Give the optimiser the learning rate of a step and return it."""
    rate = rate_at(step, steps, config)
    for group in optimiser.param_groups:
        group["lr"] = rate
    return rate


def share_weights(model: nn.Module) -> None:
    """Give all processes the parameters of the first."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(broadcast(parameter.detach()))


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """Return a context in which matrix products are computed in bfloat16, if wanted."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def seed_everything(seed: int) -> None:
    """Seed the global generators of torch, NumPy and Python: dropout and libraries draw from them."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def _fingerprint(config: TrainConfig, examples: Sequence[Any], evaluation: Sequence[Any]) -> str:
    return digest([asdict(config), len(examples), len(evaluation), repr(examples[0]), repr(examples[-1])])


def _shown(record: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in record.items() if name != "step")


def as_dict(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain JSON types, for `refiner.json`."""
    return json.loads(json.dumps(asdict(config)))

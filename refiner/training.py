"""The loop that supervised training shares: accumulation, evaluation, checkpoints. Imports torch.

Several GPUs: start it under `accelerate launch`; each process takes its share of every batch, and gradients are summed
over the processes before each step, so that one process and several do the same.
"""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn

from core.errors import BadInput
from core.text import digest
from refiner.checkpoint import Checkpoints, contents, described
from refiner.processes import check_split, on_main, this_process
from refiner.train_config import Optimisation, TrainConfig, data_order, rate_at

Example = TypeVar("Example")
Loss = Callable[[nn.Module, Sequence[Example]], tuple[Tensor, int]]
"""From a model and some examples to a summed loss and how many things it sums over (tokens, numbers)."""

logger = logging.getLogger(__name__)


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
    what: Any = None,
) -> list[dict[str, float]]:
    """Train a model in place, from this training's last checkpoint in the folder if there is one.

    On one CPU process, a training that was killed and started again ends with the same bits as one that went through.

    Args:
        model: its parameters that require gradients are trained. It ends in eval mode, with the best parameters by
            evaluation loss, the last ones without `evaluation`.
        examples: at least one.
        loss: see `Loss`.
        config: how.
        folder: of checkpoints; trainings may share it, and equal ones are done once, see `refiner.checkpoint`.
        evaluation: held-out examples.
        what: what else decides the loss (vocabulary, template, limits), in plain JSON types: another one makes another
            training, as another config, other examples or another model do.

    Returns:
        What was measured: `step`, `loss` (mean since the last record), `grad_norm`, `lr`, `eval_loss`.

    Raises:
        BadInput: no examples, or a folder that cannot be used.
    """
    if not examples:
        raise BadInput("training: got no examples, expected at least one; check the data and its filters")
    accelerator = this_process()
    check_split(config)
    steps = config.steps(len(examples))
    model.to(accelerator.device)
    share_weights(model)
    fingerprint = on_main(lambda: digest([asdict(config), contents([examples, evaluation]), described(model), what]))
    places = Checkpoints(folder, fingerprint)
    seed_everything(config.seed)
    optimiser = adamw(model, config)
    with places.held(main=accelerator.is_main_process):
        accelerator.wait_for_everyone()
        first, state = places.load(model, optimiser) or (0, {"history": [], "best": None, "losses": []})
        if len(begun := set(gather_object([first]))) > 1:
            got = f"{folder}: got processes that begin after steps {sorted(begun)}"
            raise BadInput(f"{got}, expected one; keep the folder on a disk that all of them share")
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


def _shown(record: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in record.items() if name != "step")

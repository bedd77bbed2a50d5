"""One process, or several under `accelerate launch`. Heavy: imports accelerate and torch."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list

from core.errors import BadInput
from refiner.train_config import TrainConfig

Made = TypeVar("Made")
_PATIENCE = timedelta(days=30)
"""How long processes wait for the main one, which may be drawing a log."""


def this_process() -> Accelerator:
    """Return what knows this process's device, its number and the others."""
    return Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])


def is_main() -> bool:
    """Whether this process is the one that draws, pays and writes."""
    return this_process().is_main_process


def on_main(make: Callable[[], Made]) -> Made:
    """Return what the main process makes; the others wait for it and get a copy, which has to be picklable."""
    if this_process().num_processes == 1:
        return make()
    parcel = [make() if is_main() else None]
    broadcast_object_list(parcel)
    return parcel[0]  # type: ignore[return-value]


def check_split(config: TrainConfig) -> None:
    """Find out whether every process gets an equal share of a batch.

    Raises:
        BadInput: it does not.
    """
    if config.batch_size % (count := this_process().num_processes):
        raise BadInput(f"batch_size is {config.batch_size}, expected a multiple of {count} processes; change it")

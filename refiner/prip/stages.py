"""PRIP's supervised stages (paper, section 3.3), each on the shared loop. Heavy: imports torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from refiner.lm import vocabulary
from refiner.prip.encoder import prompt_batch
from refiner.prip.model import Prip
from refiner.train_config import TrainConfig
from refiner.training import fit


class PromptPivot(NamedTuple):
    """A prompt and the pivot (vectors, width) of a picture of it."""

    prompt: str
    pivot: Tensor


def train_encoder(
    prip: Prip, pairs: Sequence[PromptPivot], config: TrainConfig, folder: Path, evaluation: Sequence[PromptPivot] = ()
) -> list[dict[str, float]]:
    """Train E to give the pivot of a prompt's preferred picture, by mean squared error over its numbers (equation 6).

    Returns:
        What `refiner.training.fit` returns; losses are per number of the pivot.

    Raises:
        BadInput: as `fit`.
    """

    def loss(encoder: nn.Module, batch: Sequence[PromptPivot]) -> tuple[Tensor, int]:
        device = prip.encoder.queries.device
        wanted = torch.stack([pair.pivot for pair in batch]).to(device)
        read = prompt_batch(prip.encoder_tokenizer, [pair.prompt for pair in batch], prip.max_tokens, device)
        return functional.mse_loss(encoder(*read).float(), wanted, reduction="sum"), wanted.numel()

    what = {"vocabulary": vocabulary(prip.encoder_tokenizer), "max_tokens": prip.max_tokens}
    return fit(prip.encoder, pairs, loss, config, folder, evaluation=evaluation, what=what)


def train_decoder(
    prip: Prip,
    pairs: Sequence[PromptPivot],
    config: TrainConfig,
    folder: Path,
    evaluation: Sequence[PromptPivot] = (),
    *,
    with_pivot: bool = True,
) -> list[dict[str, float]]:
    """Train D to say the system-language prompt of a picture's pivot (equation 7).

    Args:
        prip: its D is trained.
        pairs: system-language prompts and the pivots of their pictures.
        config: how.
        folder: of the checkpoints.
        evaluation: held-out pairs.
        with_pivot: False = D learns the language of prompts alone (paper, table 4, without pivot-system decoding).

    Returns:
        What `refiner.training.fit` returns; losses are in nats per token.

    Raises:
        BadInput: as `fit`.
    """

    def loss(decoder: nn.Module, batch: Sequence[PromptPivot]) -> tuple[Tensor, int]:
        pivots = torch.stack([pair.pivot for pair in batch]).to(prip.decoder.project.weight.device)
        return decoder(pivots if with_pivot else None, [pair.prompt for pair in batch])

    form = prip.decoder.config
    what = {
        "vocabulary": vocabulary(prip.decoder.tokenizer),
        "template": [form.left, form.right],
        "max_tokens": form.max_tokens,
        "with_pivot": with_pivot,
    }
    return fit(prip.decoder, pairs, loss, config, folder, evaluation=evaluation, what=what)

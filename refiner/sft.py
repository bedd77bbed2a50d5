"""Supervised fine-tuning of a causal language model on pairs of a source and a target text. Heavy: imports torch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from refiner.folder import Manifest, writing
from refiner.lm import merged, padded, vocabulary
from refiner.sampling import positions
from refiner.train_config import TrainConfig
from refiner.training import fit


class SftPair(NamedTuple):
    """What the model reads (template and user's prompt, or nothing) and what it is to write after it."""

    source: str
    target: str


def sft_loss(lm: Any, tokenizer: Any, pairs: Sequence[SftPair], max_tokens: int) -> tuple[Tensor, int]:
    """Return the summed loss over the targets' tokens and their ends, and how many these are.

    Source and target are tokenised apart, as when the model answers, so a source has the same tokens in both. A pair
    longer than `max_tokens` loses the end of its target (and then has no end token to learn); the source is kept.
    """
    end = int(tokenizer.eos_token_id)
    sources = tokenizer([pair.source for pair in pairs], add_special_tokens=False)["input_ids"]
    targets = tokenizer([pair.target for pair in pairs], add_special_tokens=False)["input_ids"]
    starts = [source[: max_tokens - 1] or [end] for source in sources]
    goals = [[*goal, end][: max_tokens - len(start)] for start, goal in zip(starts, targets, strict=True)]
    rows = [start + goal for start, goal in zip(starts, goals, strict=True)]
    device = lm.get_input_embeddings().weight.device
    ids, mask = (tensor.to(device) for tensor in padded(rows, end, "right"))
    labels, _ = padded([[-100] * len(s) + g for s, g in zip(starts, goals, strict=True)], -100, "right")
    labels = labels[:, 1:].to(device)
    logits = lm(input_ids=ids, attention_mask=mask, position_ids=positions(mask)).logits[:, :-1]
    loss = functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1), ignore_index=-100, reduction="sum"
    )
    return loss, int((labels != -100).sum())


def train_sft(
    lm: Any,
    tokenizer: Any,
    pairs: Sequence[SftPair],
    config: TrainConfig,
    folder: Path,
    *,
    evaluation: Sequence[SftPair] = (),
    max_tokens: int = 384,
) -> list[dict[str, float]]:
    """Train a language model, or its LoRA, to write the targets.

    Returns:
        What `refiner.training.fit` returns; losses are in nats per token.

    Raises:
        BadInput: as `fit`.
    """

    def loss(model: nn.Module, batch: Sequence[SftPair]) -> tuple[Tensor, int]:
        return sft_loss(model, tokenizer, batch, max_tokens)

    what = {"vocabulary": vocabulary(tokenizer), "max_tokens": max_tokens}
    return fit(lm, pairs, loss, config, folder, evaluation=evaluation, what=what)


def save_causal(
    folder: Path, lm: Any, tokenizer: Any, manifest: Manifest, more: Callable[[Path], None] | None = None
) -> None:
    """Write the folder of a refiner that is one causal language model; see `refiner.folder.writing`.

    Its files lie beside `refiner.json`, so that transformers loads the folder as it is. LoRA's matrices become part of
    the weights.

    Args:
        folder: the refiner's.
        lm: its model.
        tokenizer: its tokenizer.
        manifest: what it says of itself.
        more: writes what else belongs to the refiner, before its folder is there.

    Raises:
        BadInput: the folder holds something else, or cannot be written.
    """
    with writing(folder, replace(manifest, kind="causal")) as place:
        merged(lm).save_pretrained(place)
        tokenizer.save_pretrained(place)
        if more:
            more(place)

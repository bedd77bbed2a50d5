"""PRIP as one thing: E, D, their tokenizers; building, saving and loading. Heavy: imports torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, T5Config

from core.errors import BadInput
from core.text import one_line
from refiner.folder import Manifest, read_manifest, writing
from refiner.lm import build_lm, load_pretrained, load_tokenizer, merged
from refiner.prip.config import PripConfig
from refiner.prip.decoder import DecoderConfig, PromptDecoder
from refiner.prip.encoder import PreferenceEncoder, build_encoder, prompt_batch
from refiner.sampling import Context

_WEIGHTS, _PROJECTION = "model.safetensors", "projection.safetensors"


@dataclass
class Prip:
    """A pivot refiner's two models.

    Attributes:
        encoder: E.
        encoder_tokenizer: what E reads with.
        decoder: D, with its own tokenizer.
        max_tokens: of a user's prompt.
    """

    encoder: PreferenceEncoder
    encoder_tokenizer: Any
    decoder: PromptDecoder
    max_tokens: int

    def pivots(self, prompts: Sequence[str]) -> Tensor:
        """Return the pivots (n, queries, pivot_width) of users' prompts."""
        device = self.encoder.queries.device
        return self.encoder(*prompt_batch(self.encoder_tokenizer, prompts, self.max_tokens, device))

    def context(self, prompts: Sequence[str], prefixes: Sequence[str]) -> Context:
        """Return what D has read when it writes for users' prompts, each with a prefix to go on from."""
        return self.decoder.context(self.pivots(prompts), prefixes)


def build_prip(config: PripConfig, tokenizer: Any = None) -> Prip:
    """Return a pivot refiner before training.

    Args:
        config: shapes, or hub ids to start from.
        tokenizer: of models without a base; both use it.

    Raises:
        BadInput: a base does not load, or a model without a base has no tokenizer.
    """
    if tokenizer is None and not (config.encoder.base and config.decoder.lm.base):
        raise BadInput("prip: got neither a base nor a tokenizer, expected one of them for E and for D")
    reads = load_tokenizer(config.encoder.base) if config.encoder.base else tokenizer
    writes = load_tokenizer(config.decoder.lm.base) if config.decoder.lm.base else tokenizer
    encoder = build_encoder(config.encoder, len(reads))
    lm = build_lm(config.decoder.lm, writes)
    pivot = (config.encoder.queries, config.encoder.pivot_width)
    decoder = PromptDecoder(lm, writes, pivot, config.decoder)
    return Prip(encoder, reads, decoder, config.encoder.max_tokens)


def save_pretrained(folder: Path, prip: Prip, manifest: Manifest, more: Callable[[Path], None] | None = None) -> None:
    """Write a pivot refiner's folder; see `refiner.folder.writing`. LoRA's matrices become part of the weights.

    Args:
        folder: the refiner's.
        prip: its models.
        manifest: what it says of itself.
        more: writes what else belongs to the refiner, before its folder is there.

    Raises:
        BadInput: the folder holds something else, or cannot be written.
    """
    shape = {
        "queries": len(prip.encoder.queries),
        "pivot_width": prip.encoder.project.out_features,
        "max_tokens": prip.max_tokens,
        "left": prip.decoder.config.left,
        "right": prip.decoder.config.right,
        "decoder_max_tokens": prip.decoder.config.max_tokens,
    }
    with writing(folder, replace(manifest, kind="prip", settings={**manifest.settings, **shape})) as place:
        prip.decoder.lm = merged(prip.decoder.lm)
        prip.encoder.config.save_pretrained(place / "encoder")
        save_file(_tensors(prip.encoder), place / "encoder" / _WEIGHTS)
        prip.encoder_tokenizer.save_pretrained(place / "encoder")
        prip.decoder.lm.save_pretrained(place / "decoder")
        prip.decoder.tokenizer.save_pretrained(place / "decoder")
        save_file(_tensors(prip.decoder.project), place / "decoder" / _PROJECTION)
        if more:
            more(place)


def from_pretrained(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Prip:
    """Return a pivot refiner from its folder, in eval mode.

    Args:
        folder: what `save_pretrained` wrote.
        device: where to.
        dtype: of D's language model.

    Raises:
        BadInput: a file is missing or corrupt, or the files do not belong together.
    """
    settings = read_manifest(folder).settings
    lm = load_pretrained(AutoModelForCausalLM, str(folder / "decoder"), dtype=dtype)
    t5 = load_pretrained(T5Config, str(folder / "encoder"))
    try:
        config = DecoderConfig(
            left=settings["left"], right=settings["right"], max_tokens=settings["decoder_max_tokens"]
        )
        pivot = (settings["queries"], settings["pivot_width"])
        decoder = PromptDecoder(lm, load_tokenizer(str(folder / "decoder")), pivot, config)
        decoder.project.load_state_dict(load_file(folder / "decoder" / _PROJECTION))
        with torch.device("meta"):
            encoder = PreferenceEncoder(t5, *pivot)
        weights = load_file(folder / "encoder" / _WEIGHTS)
        encoder.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    except (OSError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadInput(
            f"{folder}: got files that do not load ({one_line(error)}), expected a whole pivot refiner; copy it anew"
        ) from error
    prip = Prip(encoder, load_tokenizer(str(folder / "encoder")), decoder, settings["max_tokens"])
    for part in (prip.encoder, prip.decoder):
        part.to(device).eval().requires_grad_(False)
    return prip


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}

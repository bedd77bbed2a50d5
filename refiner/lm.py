"""Causal language models as all refiners here use them: by hub id, or small and fresh from a shape. Imports torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from core.device import default_device
from core.errors import BadInput
from core.text import one_line
from refiner.checkpoint import contents

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_LM_FIELDS = ("n_embd", "n_layer", "n_head", "n_positions")


@dataclass(frozen=True)
class LmConfig:
    """Which language model, and how it is trained.

    Attributes:
        base: hub id or folder of a causal language model; "" = a GPT-2 of `shape` with fresh weights.
        shape: `n_embd`, `n_layer`, `n_head`, `n_positions` of a fresh GPT-2.
        dropout: of a fresh GPT-2.
        dtype: of the weights: `float32`, or `bfloat16` for large ones that are frozen or get LoRA.
        lora_r: rank of LoRA's matrices; 0 = all parameters are trained. Needs peft.
        lora_alpha: LoRA's scale times its rank.
        gradient_checkpointing: less memory, a third more time.
    """

    base: str = ""
    shape: Mapping[str, int] = field(default_factory=dict)
    dropout: float = 0.1
    dtype: str = "float32"
    lora_r: int = 0
    lora_alpha: int = 32
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise BadInput(f"dtype is {self.dtype!r}, expected one of {', '.join(_DTYPES)}")
        if not self.base and set(self.shape) != set(_LM_FIELDS):
            raise BadInput(f"shape has {sorted(self.shape)}, expected {', '.join(_LM_FIELDS)}, or name a base model")
        if not self.base and (min(self.shape.values()) < 1 or self.shape["n_embd"] % self.shape["n_head"]):
            raise BadInput(f"shape is {dict(self.shape)}, expected numbers over 0, and n_embd a multiple of n_head")
        if not 0 <= self.dropout < 1 or self.lora_r < 0:
            raise BadInput(
                f"got dropout {self.dropout} and lora_r {self.lora_r}, expected 0 <= dropout < 1, lora_r >= 0"
            )


def build_lm(config: LmConfig, tokenizer: Any) -> Any:
    """Return a language model, ready for training.

    Raises:
        BadInput: the base does not load, or LoRA is wanted and peft is not installed.
    """
    transformers.utils.logging.disable_progress_bar()  # of saving it; brushup shows its own
    model: Any
    if config.base:
        model = load_pretrained(AutoModelForCausalLM, config.base, dtype=_DTYPES[config.dtype])
    else:
        end = tokenizer.eos_token_id
        fields: dict[str, Any] = dict(config.shape)
        fields["activation_function"] = "gelu_pytorch_tanh"  # GPT-2's own function, fused: a quarter less time
        fields |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), config.dropout)
        fields |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **fields))
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return with_lora(model, config) if config.lora_r else model


def with_lora(model: Any, config: LmConfig) -> Any:
    """Return the model with LoRA's matrices beside its linear layers; only they are trained.

    Raises:
        BadInput: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise BadInput(
            f"lora_r is {config.lora_r}, expected 0 because peft is not installed; pip install 'brushup[lora]'"
        ) from error
    targets = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        target_modules="all-linear",
        fan_in_fan_out=model.config.model_type == "gpt2",  # its layers are stored transposed
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, targets)


def merged(model: Any) -> Any:
    """Return the model without LoRA: its matrices added to the weights, so that loading it needs no peft."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def placement() -> tuple[str, torch.dtype]:
    """Return the device that answers are computed on, and the dtype of the weights there."""
    device = default_device()
    return device, torch.bfloat16 if device == "cuda" else torch.float32


def load_tokenizer(source: str) -> Any:
    """Return a tokenizer whose padding token is its end token where it has none.

    Raises:
        BadInput: it does not load, or has no end token.
    """
    tokenizer = load_pretrained(AutoTokenizer, source)
    if tokenizer.eos_token_id is None:
        raise BadInput(f"{source}: got a tokenizer without an end token, expected one; name another model")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def vocabulary(tokenizer: Any) -> str:
    """Return a digest of a tokenizer's tokens and their ids."""
    return contents(sorted(tokenizer.get_vocab().items()))


def longest_row(lm: Any) -> int | None:
    """Return how many tokens a language model has positions for; None = its positions have no end."""
    found: int | None = getattr(lm.config, "max_position_embeddings", None)
    return found


def load_pretrained(kind: Any, source: str, **arguments: Any) -> Any:
    """Return `kind.from_pretrained(source)`, from safetensors and without any code of the repository's.

    A hub id may name a revision: `org/name@revision`.

    Raises:
        BadInput: it does not load.
    """
    if hasattr(kind, "forward") or kind is AutoModelForCausalLM:
        arguments["use_safetensors"] = True
    repository, _, revision = source.partition("@")
    if revision and not Path(source).is_dir():
        source, arguments["revision"] = repository, revision
    transformers.utils.logging.disable_progress_bar()
    try:
        return kind.from_pretrained(source, trust_remote_code=False, **arguments)
    except Exception as error:  # transformers, tokenizers and safetensors raise whatever they like at a bad file
        raise BadInput(
            f"{source}: got nothing that loads as {kind.__name__} ({one_line(error)}), expected a cached or reachable "
            "hub id, or a folder with config, safetensors and tokenizer files"
        ) from error


def disable_dropout(model: nn.Module) -> None:
    """Set all dropout to 0: in reinforcement learning the policy that is updated must be the one that acted.

    Attention layers of transformers hold theirs as plain numbers. With all at 0 a model may stay in train mode, without
    which gradient checkpointing would not work.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "attn_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def padded(rows: Sequence[Sequence[int]], fill: int, side: str) -> tuple[Tensor, Tensor]:
    """Return token ids and mask, (n, longest), int64, padded on the `left` or the `right`."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), fill)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        where = slice(longest - len(row), None) if side == "left" else slice(0, len(row))
        ids[index, where] = torch.tensor(row, dtype=torch.long)
        mask[index, where] = 1
    return ids, mask

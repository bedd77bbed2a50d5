"""ImageReward (arXiv 2304.05977, section "RM Training") on transformers' BLIP: a text encoder that sees the picture.

A linear head reads the text encoder's last hidden state at position 0; the raw score is (head - mean) / std, so about
standard normal over the training pictures and unbounded: 62.4 % in [-1, 1] and 98.2 % in [-2, 2] for Stable Diffusion
1.4 (the authors, issue 5 of THUDM/ImageReward). **A prompt is cut at 35 tokens**, the special ones included, as in the
release. The picture is cropped as there (torchvision's Resize and CenterCrop). Heavy: import it through
`scoring.load_scorer`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveFloat, PositiveInt, ValidationError
from torch import nn
from transformers import AutoTokenizer, BertTokenizer, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from core.errors import BadInput
from core.records import ScoreItem
from core.text import digest, one_line
from scoring.blip_layout import BlipShape, from_image_reward_state_dict, image_reward_shape
from scoring.chunked import ChunkedScorer, padded
from scoring.clip import folder_name, quiet, tokenizer_digests
from scoring.files import file_digest, from_hub, read_json, read_tensors, resolve_device
from scoring.head import POSITIONS, apply_head, read_head
from scoring.options import ScorerOptions
from scoring.preprocess import Crop, crop_picture, plain_prompt

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
RELEASE, HUB_WEIGHTS, HUB_TOKENIZER = "ImageReward.pt", "THUDM/ImageReward", "google-bert/bert-base-uncased"
HEAD = "mlp."


class _Config(BaseModel):
    """`config.json` of a folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vision_config: dict[str, Any]
    text_config: dict[str, Any]
    mean: FiniteFloat
    std: PositiveFloat
    max_length: PositiveInt


@dataclass(frozen=True)
class _Numbers:
    """How the head's output is normalised, and where a prompt is cut, in tokens; the defaults are the release's."""

    mean: float = 0.16717362830052426
    std: float = 1.0333394966054072
    max_length: int = 35


class _Reward(nn.Module):
    """Picture encoder, text encoder with cross attention, head."""

    def __init__(self, vision: BlipVisionModel, text: BlipTextModel, head: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision
        self.text_encoder = text
        self.mlp = head

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the head's output (n) for pixels (n, 3, size, size), token ids and their mask (n, length)."""
        seen = self.vision_model(pixel_values=pixels).last_hidden_state
        read = self.text_encoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen, is_decoder=False)
        return apply_head(self.mlp, read.last_hidden_state[:, 0])


def load(source: str | None, options: ScorerOptions) -> ChunkedScorer:
    """Load a folder in our layout, the released `ImageReward.pt`, or that from the hub (its cache serves it offline).

    A folder holds `config.json` (`vision_config`, `text_config`, `mean`, `std`, `max_length`), `model.safetensors`
    (`vision_model.*`, `text_encoder.*`, `mlp.layers.N.*`) and tokenizer files.

    Raises:
        BadInput: files are missing, corrupt, or do not belong together.
    """
    quiet()
    if source is not None and not (path := Path(source).expanduser()).is_file():
        return _load_folder(path, options)
    return _load_release(source, options)


def _load_folder(folder: Path, options: ScorerOptions) -> ChunkedScorer:
    if not folder.is_dir():
        raise BadInput(
            f"scorer imagereward: got no file or folder {folder}, expected {RELEASE} or a folder with {CONFIG_FILE}, "
            f"{WEIGHTS_FILE} and tokenizer files; check --scorer"
        )
    name = folder_name("imagereward", folder)
    shape, numbers = _read_config(name, folder / CONFIG_FILE)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # `tokenizers` raises bare Exception on a corrupt file
        raise _no_tokenizer(name, folder, error) from error
    try:
        model = _build(read_tensors(folder / WEIGHTS_FILE), shape)
    except BadInput as error:
        raise BadInput(f"scorer {name}: {error}") from error
    files = [file_digest(folder / CONFIG_FILE), file_digest(folder / WEIGHTS_FILE), *tokenizer_digests(folder)]
    return _scorer(name, files, model, tokenizer, numbers, options)


def _load_release(source: str | None, options: ScorerOptions) -> ChunkedScorer:
    name = "imagereward"
    weights = from_hub(name, HUB_WEIGHTS, RELEASE) if source is None else Path(source).expanduser()
    beside = weights.parent
    own = any((beside / file).is_file() for file in ("tokenizer.json", "vocab.txt"))
    vocabulary = beside if own else from_hub(name, HUB_TOKENIZER)
    shape = image_reward_shape()
    try:
        tokenizer = BertTokenizer.from_pretrained(str(vocabulary), local_files_only=True)
    except Exception as error:  # `tokenizers` raises bare Exception on a corrupt file
        raise _no_tokenizer(name, vocabulary, error) from error
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_tokens(["[ENC]"], special_tokens=True)
    try:
        model = _build(from_image_reward_state_dict(read_tensors(weights), shape, POSITIONS), shape)
    except BadInput as error:
        raise BadInput(f"scorer {name}, {weights}: {error}") from error
    return _scorer(name, [file_digest(weights), *tokenizer_digests(vocabulary)], model, tokenizer, _Numbers(), options)


def _read_config(name: str, path: Path) -> tuple[BlipShape, _Numbers]:
    found = read_json(name, path)
    try:
        config = _Config.model_validate(found)
        vision = BlipVisionConfig.from_dict(config.vision_config)
        across = {"encoder_hidden_size": vision.hidden_size, "is_decoder": True}
        text = BlipTextConfig.from_dict(config.text_config | across)
        if not isinstance(vision.image_size, int):
            raise ValueError(f"image_size {vision.image_size!r}")
        if config.max_length > text.max_position_embeddings:
            raise ValueError(f"max_length {config.max_length} above {text.max_position_embeddings} positions")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"scorer {name}: got {where}: {first['msg']}, expected ImageReward's config; mend {path}"
        ) from error
    except (StrictDataclassError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"scorer {name}: got a {CONFIG_FILE} that does not fit ({one_line(error)}), expected BLIP's settings; "
            f"mend {path}"
        ) from error
    return BlipShape(vision, text), _Numbers(config.mean, config.std, config.max_length)


def _build(state: dict[str, torch.Tensor], shape: BlipShape) -> _Reward:
    """Return the model on the CPU in float32, without initialising weights that are replaced at once."""
    head = {key.removeprefix(HEAD): tensor for key, tensor in state.items() if key.startswith(HEAD)}
    encoders = {key: tensor for key, tensor in state.items() if not key.startswith(HEAD)}
    try:
        with torch.device("meta"):
            vision, text = BlipVisionModel(shape.vision), BlipTextModel(shape.text, add_pooling_layer=False)
        nn.ModuleDict({"vision_model": vision, "text_encoder": text}).load_state_dict(
            encoders, assign=True, strict=True
        )
    except (RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
        raise BadInput(
            f"got tensors of other names or shapes than the config's ({one_line(error)}), expected a checkpoint and a "
            "config that belong together"
        ) from error
    part: Any = text.embeddings  # its positions are not in checkpoints, so still on "meta"
    part.position_ids = torch.arange(shape.text.max_position_embeddings).expand(1, -1)
    return _Reward(vision, text, read_head(head, shape.text.hidden_size)).requires_grad_(False).eval()


def _no_tokenizer(name: str, folder: Path, error: Exception) -> BadInput:
    return BadInput(
        f"scorer {name}: got no readable tokenizer in {folder} ({one_line(error)}), expected tokenizer.json or "
        "vocab.txt; copy the files there"
    )


def _scorer(
    name: str, files: list[str], model: _Reward, tokenizer: Any, numbers: _Numbers, options: ScorerOptions
) -> ChunkedScorer:
    vocab = model.text_encoder.config.vocab_size
    if len(tokenizer) != vocab or tokenizer.pad_token_id is None:
        raise BadInput(
            f"scorer {name}: got a tokenizer of {len(tokenizer)} tokens, expected {vocab} as in the model's config, "
            "and one for padding; use the files that belong to it"
        )
    device = resolve_device(options.device)
    model.to(device)
    size: Any = model.vision_model.config.image_size
    crop = Crop(size, size, centre="even")

    def values(items: Sequence[ScoreItem]) -> torch.Tensor:
        pixels = padded([crop_picture(item.image, crop) for item in items], options.chunk)
        texts = tokenizer(
            [plain_prompt(item.prompt) for item in items],
            max_length=numbers.max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        ids, mask = (padded(list(texts[key]), options.chunk) for key in ("input_ids", "attention_mask"))
        raw = model(pixels.to(device), ids.to(device), mask.to(device))[: len(items)]
        return (raw - numbers.mean) / numbers.std

    contents = digest(["imagereward", *files, numbers.mean, numbers.std, numbers.max_length])
    return ChunkedScorer(name, contents, model, options, values)

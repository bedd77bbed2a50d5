"""HPSv2 (arXiv 2306.09341) natively on transformers' CLIP, for the official checkpoints and any in their layout.

The raw score is the cosine of picture and prompt, in [-1, 1]; the paper's tables show it times 100. It compares
pictures of one prompt only. Heavy: import it through `scoring.load_scorer`.
"""

import json
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from pydantic import ValidationError
from transformers import CLIPModel, CLIPTokenizer

from core.errors import BadInput
from core.records import Score, ScoreItem
from core.text import digest
from scoring.files import TOKENIZER_FILES, file_digest, from_hub, one_line, read_checkpoint, resolve_device
from scoring.open_clip_layout import VIT_H_14, OpenClipConfig, from_open_clip_state_dict
from scoring.options import ScorerOptions
from scoring.preprocess import clean_prompt, letterbox

CONFIG_FILE, WEIGHTS_FILE = "config.json", "weights.pt"
RELEASES = {"2.0": "HPS_v2_compressed.pt", "2.1": "HPS_v2.1_compressed.pt"}
"""Checkpoint file by version, in the hub repository `xswu/HPSv2`."""
HUB_WEIGHTS, HUB_TOKENIZER = "xswu/HPSv2", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
_PROMPT_MEMO = 4096


@dataclass(frozen=True)
class _Files:
    """Where a scorer's parts lie."""

    weights: Path
    tokenizer: Path


class HpsV2:
    """A `core.interfaces.Scorer`: the cosine of CLIP's picture and text features.

    `revision` covers the files' contents and all that changes a float32 value: device, dtype, threads, versions.
    """

    def __init__(
        self, name: str, contents: str, model: CLIPModel, tokenizer: CLIPTokenizer, options: ScorerOptions
    ) -> None:
        self.name = name
        self.chunk = options.chunk
        self._threads = options.threads or torch.get_num_threads()
        self.settings = {
            "device": model.device.type,
            "dtype": "float32",
            "threads": self._threads,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        self.revision = digest([contents, self.settings])
        self._model = model
        self._tokenizer = tokenizer
        vision: Any = model.config.vision_config
        text: Any = model.config.text_config
        self._size: int = vision.image_size
        self._context: int = text.max_position_embeddings
        self._texts: OrderedDict[str, torch.Tensor] = OrderedDict()

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        """Score at most `chunk` items; each prompt is encoded once and remembered.

        Raises:
            ValueError: more than `chunk` items.
        """
        if len(items) > self.chunk:
            raise ValueError(f"{len(items)} items for a chunk of {self.chunk}")
        if not items:
            return []
        if torch.get_num_threads() != self._threads:  # the number belongs to the calling thread
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            pictures = self._encode_pictures([letterbox(item.image, self._size) for item in items])
            texts = torch.stack([self._encode_prompt(item.prompt) for item in items])
            values = (pictures * texts).sum(dim=-1).tolist()
        return [_score(value) for value in values]

    def _encode_pictures(self, pixels: list[torch.Tensor]) -> torch.Tensor:
        """Return unit features (n, embed_dim) of n tensors (3, size, size), computed in one padded chunk."""
        padded = torch.stack([*pixels, *[pixels[-1]] * (self.chunk - len(pixels))]).to(self._model.device)
        hidden = self._model.vision_model(pixel_values=padded).pooler_output
        return _unit(self._model.visual_projection(hidden))[: len(pixels)]

    def _encode_prompt(self, prompt: str) -> torch.Tensor:
        """Return the unit features (embed_dim) of a prompt, always computed alone, so in one shape."""
        if prompt in self._texts:
            self._texts.move_to_end(prompt)
            return self._texts[prompt]
        ids = self._tokenizer(
            clean_prompt(prompt),
            max_length=self._context,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids.to(self._model.device)
        end = int((ids[0] == self._tokenizer.eos_token_id).int().argmax())
        hidden = self._model.text_model(input_ids=ids).last_hidden_state[:, end]
        features = _unit(self._model.text_projection(hidden))[0]
        self._texts[prompt] = features
        if len(self._texts) > _PROMPT_MEMO:
            self._texts.popitem(last=False)
        return features


def load_folder(source: str | None, options: ScorerOptions) -> HpsV2:
    """Load a scorer folder: `config.json` (open_clip's form), `weights.pt` (`state_dict`), CLIPTokenizer files.

    Raises:
        BadInput: no folder given, or its files are missing, corrupt or do not belong together.
    """
    if source is None:
        raise BadInput("scorer hpsv2: got no folder, expected hpsv2=FOLDER; or use hpsv2.1 for the released model")
    folder = Path(source).expanduser()
    path = folder / CONFIG_FILE
    try:
        config = OpenClipConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{path}: got {where}: {first['msg']}, expected open_clip's model config; mend it") from error
    except (OSError, ValueError) as error:
        raise BadInput(
            f"scorer {folder}: got no readable {CONFIG_FILE} ({one_line(error)}), expected a folder with "
            f"{CONFIG_FILE}, {WEIGHTS_FILE} and tokenizer files; check --scorer"
        ) from error
    return _load(
        f"hpsv2:{folder.resolve().parent.name}/{folder.resolve().name}",
        config,
        _Files(folder / WEIGHTS_FILE, folder),
        options,
    )


def load_release(version: str, source: str | None, options: ScorerOptions) -> HpsV2:
    """Load HPSv2 `version` from its official file, or from the hub (its cache serves it offline).

    Raises:
        BadInput: the file or the tokenizer is not there and cannot be fetched, or does not load.
    """
    name = f"hpsv2.{version.partition('.')[2]}"
    if source is None:
        weights = from_hub(name, HUB_WEIGHTS, RELEASES[version])
    else:
        weights = Path(source).expanduser()
        if not weights.is_file():
            raise BadInput(f"scorer {name}: got no file {weights}, expected {RELEASES[version]}; check --scorer")
    beside = weights.parent
    has_own = (beside / "tokenizer.json").is_file() or (beside / "merges.txt").is_file()
    return _load(name, VIT_H_14, _Files(weights, beside if has_own else from_hub(name, HUB_TOKENIZER)), options)


def _load(name: str, config: OpenClipConfig, files: _Files, options: ScorerOptions) -> HpsV2:
    if os.environ.get("TRANSFORMERS_VERBOSITY", "error") == "error":  # also when it was imported earlier
        transformers.logging.set_verbosity_error()
    tokenizer = _load_tokenizer(name, config, files.tokenizer)
    try:
        converted = from_open_clip_state_dict(read_checkpoint(files.weights), config)
    except BadInput as error:
        raise BadInput(f"scorer {name}, {files.weights}: {error}") from error
    model: Any = _build(name, config, converted)
    model.to(resolve_device(options.device))
    contents = [config.model_dump(), file_digest(files.weights)]
    contents += [file_digest(path) for kind in TOKENIZER_FILES if (path := files.tokenizer / kind).is_file()]
    return HpsV2(name, digest(contents), model, tokenizer, options)


def _build(name: str, config: OpenClipConfig, converted: dict[str, torch.Tensor]) -> CLIPModel:
    """Return the model on the CPU in float32, without initialising weights that are replaced at once."""
    with torch.device("meta"):
        model = CLIPModel(config.to_transformers())
    try:
        model.load_state_dict(converted, assign=True, strict=True)
    except RuntimeError as error:
        raise BadInput(
            f"scorer {name}: got tensors of other shapes than the config's ({one_line(error)}), expected a checkpoint "
            "and a config that belong together"
        ) from error
    for part in (model.text_model.embeddings, model.vision_model.embeddings):  # not in checkpoints, so still on "meta"
        part.position_ids = torch.arange(part.position_ids.shape[-1]).expand(1, -1)
    return model.requires_grad_(False).eval()


def _load_tokenizer(name: str, config: OpenClipConfig, folder: Path) -> CLIPTokenizer:
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # `tokenizers` raises bare Exception on a corrupt file
        raise BadInput(
            f"scorer {name}: got no readable tokenizer in {folder} ({one_line(error)}), expected tokenizer.json or "
            "vocab.json and merges.txt; copy them there"
        ) from error
    if len(tokenizer) != config.text_cfg.vocab_size or tokenizer.eos_token_id is None:
        raise BadInput(
            f"scorer {name}: got a tokenizer of {len(tokenizer)} tokens in {folder}, expected "
            f"{config.text_cfg.vocab_size} as in the model's config; use the files that belong to it"
        )
    return tokenizer


def _unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features, dim=-1)


def _score(value: float) -> Score:
    return Score(value) if math.isfinite(value) else Score(None, f"the score is not finite ({value})")

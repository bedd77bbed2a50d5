"""HPSv2 (arXiv 2306.09341) natively on transformers' CLIP, for the official checkpoints and any in their layout.

The raw score is the cosine of picture and prompt, in [-1, 1]; the paper's tables show it times 100. It compares
pictures of one prompt only. Heavy: import it through `scoring.load_scorer`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tokenizers import normalizers
from transformers import CLIPTokenizer

from core.errors import BadInput
from core.text import digest, one_line
from scoring.chunked import ChunkedScorer
from scoring.clip import Clip, ClipFeatures, build_clip, folder_name, load_tokenizer, quiet, tokenizer_digests
from scoring.files import file_digest, from_hub, read_checkpoint, resolve_device
from scoring.open_clip_layout import VIT_H_14, OpenClipConfig, from_open_clip_state_dict
from scoring.options import ScorerOptions
from scoring.preprocess import clean_prompt, letterbox

CONFIG_FILE, WEIGHTS_FILE = "config.json", "weights.pt"
RELEASES = {"2.0": "HPS_v2_compressed.pt", "2.1": "HPS_v2.1_compressed.pt"}
"""Checkpoint file by version, in the hub repository `xswu/HPSv2`."""
HUB_WEIGHTS, HUB_TOKENIZER = "xswu/HPSv2", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


@dataclass(frozen=True)
class _Files:
    """Where a scorer's parts lie."""

    weights: Path
    tokenizer: Path


def load_folder(source: str | None, options: ScorerOptions) -> ChunkedScorer:
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
    return _load(folder_name("hpsv2", folder), config, _Files(folder / WEIGHTS_FILE, folder), options)


def load_release(version: str, source: str | None, options: ScorerOptions) -> ChunkedScorer:
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


def cleaned_text_tokenizer(name: str, vocab_size: int, folder: Path) -> CLIPTokenizer:
    """Return the tokenizer for what `clean_prompt` returns; its own cleaning is off, as hpsv2 has none after that.

    It would compose letters and accents that were written as entities (`e&#769;`), and give other tokens than hpsv2.

    Raises:
        BadInput: it does not load, or has not `vocab_size` tokens.
    """
    tokenizer: Any = load_tokenizer(name, vocab_size, folder)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([])
    return tokenizer


def _load(name: str, config: OpenClipConfig, files: _Files, options: ScorerOptions) -> ChunkedScorer:
    quiet()
    tokenizer = cleaned_text_tokenizer(name, config.text_cfg.vocab_size, files.tokenizer)
    try:
        converted = from_open_clip_state_dict(read_checkpoint(files.weights), config)
    except BadInput as error:
        raise BadInput(f"scorer {name}, {files.weights}: {error}") from error
    model: Any = build_clip(name, config.to_transformers(), converted)
    model.to(resolve_device(options.device))
    contents = digest([config.model_dump(), file_digest(files.weights), *tokenizer_digests(files.tokenizer)])
    size = config.vision_cfg.image_size
    clip = Clip(model, tokenizer, lambda image: letterbox(image, size), clean_prompt, contents)
    return ChunkedScorer(name, contents, model, options, ClipFeatures(clip, options.chunk).cosines)

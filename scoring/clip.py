"""transformers' CLIP as all CLIP scorers use it: files of a model folder or the hub, model, unit features.

A folder is what `CLIPModel.save_pretrained` and a hub snapshot hold: `config.json`, `model.safetensors` (or
`pytorch_model.bin`), tokenizer files, and perhaps `preprocessor_config.json`. Heavy: imports torch.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from core.errors import BadInput
from core.records import ScoreItem
from core.text import digest, one_line
from scoring.chunked import padded
from scoring.files import (
    TOKENIZER_FILES,
    file_digest,
    from_hub,
    read_json,
    read_tensors,
    resolve_device,
)
from scoring.options import ScorerOptions
from scoring.preprocess import crop_picture, read_crop

CONFIG_FILE, PROCESSOR_FILE = "config.json", "preprocessor_config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""The first one that is there is read; OpenAI's ViT-B/32 repository has the second only."""
_PROMPT_MEMO = 4096


@dataclass(frozen=True)
class ClipFiles:
    """Where the parts of a CLIP lie; without `processor`, CLIP's own mean and deviation are used."""

    config: Path
    weights: Path
    tokenizer: Path
    processor: Path | None = None


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP: how it sees a picture (to (3, size, size)) and a prompt (to the text that is tokenised).

    `contents` is a digest of all files and numbers that its features depend on.
    """

    model: CLIPModel
    tokenizer: CLIPTokenizer
    see: Callable[[Image.Image], torch.Tensor]
    clean: Callable[[str], str]
    contents: str


class ClipFeatures:
    """Unit features of pictures, in padded chunks, and of prompts, each encoded once and remembered."""

    def __init__(self, clip: Clip, chunk: int) -> None:
        self._model: Any = clip.model
        self._clip = clip
        self._chunk = chunk
        text: Any = clip.model.config.text_config
        self._context: int = text.max_position_embeddings
        self._texts: OrderedDict[str, torch.Tensor] = OrderedDict()

    def cosines(self, items: Sequence[ScoreItem]) -> torch.Tensor:
        """Return the cosine of each of n <= chunk pictures and its prompt."""
        pictures = self.pictures([item.image for item in items])[: len(items)]
        texts = torch.stack([self.prompt(item.prompt) for item in items])
        return (pictures * texts).sum(dim=-1)

    def pictures(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return unit features (chunk, embed_dim) of n <= chunk pictures; rows from n on are padding."""
        pixels = padded([self._clip.see(image) for image in images], self._chunk).to(self._model.device)
        hidden = self._model.vision_model(pixel_values=pixels).pooler_output
        return _unit(self._model.visual_projection(hidden))

    def prompt(self, prompt: str) -> torch.Tensor:
        """Return the unit features (embed_dim) of a prompt, computed alone and without padding, so by itself."""
        if prompt in self._texts:
            self._texts.move_to_end(prompt)
            return self._texts[prompt]
        text = self._clip.clean(prompt)
        ids = self._clip.tokenizer(text, max_length=self._context, truncation=True, return_tensors="pt").input_ids
        hidden = self._model.text_model(input_ids=ids.to(self._model.device)).last_hidden_state[:, -1]  # the end token
        features = _unit(self._model.text_projection(hidden))[0]
        self._texts[prompt] = features
        if len(self._texts) > _PROMPT_MEMO:
            self._texts.popitem(last=False)
        return features


def folder_files(name: str, folder: Path) -> ClipFiles:
    """Return where a model folder's parts lie.

    Raises:
        BadInput: it is no folder, or its config or weights are missing.
    """
    weights = next((folder / file for file in WEIGHTS_FILES if (folder / file).is_file()), None)
    missing = [CONFIG_FILE] if not (folder / CONFIG_FILE).is_file() else []
    missing += ["model.safetensors"] if weights is None else []
    if missing or weights is None:
        raise BadInput(
            f"scorer {name}: got no {' and no '.join(missing)} in {folder}, expected a transformers CLIPModel folder "
            "with config.json, model.safetensors and tokenizer files; check --scorer"
        )
    processor = folder / PROCESSOR_FILE
    return ClipFiles(folder / CONFIG_FILE, weights, folder, processor if processor.is_file() else None)


def hub_files(name: str, repository: str, processor_repository: str | None = None) -> ClipFiles:
    """Return the parts of a hub model, with tokenizer and processor of another repository where one is given.

    Raises:
        BadInput: they are not cached and the hub does not answer.
    """
    beside = processor_repository or repository
    config = from_hub(name, repository, CONFIG_FILE, instead="FOLDER")
    try:
        weights = from_hub(name, repository, WEIGHTS_FILES[0], instead="FOLDER")
    except BadInput:
        weights = from_hub(name, repository, WEIGHTS_FILES[1], instead="FOLDER")
    processor = from_hub(name, beside, PROCESSOR_FILE, instead="FOLDER")
    return ClipFiles(config, weights, from_hub(name, beside, instead="FOLDER"), processor)


def load_clip(name: str, files: ClipFiles, clean: Callable[[str], str], options: ScorerOptions) -> Clip:
    """Load a CLIP in float32 and put it on its device.

    Raises:
        BadInput: a file is missing or corrupt, or the files do not belong together.
    """
    quiet()
    found = read_json(name, files.config)
    try:
        config: Any = CLIPConfig.from_dict(found)
        if found.get("model_type", "clip") != "clip":
            raise ValueError(f"model_type {found['model_type']!r}")
        crop = read_crop(files.processor, config.vision_config.image_size)
        tensors = read_tensors(files.weights)
    except BadInput as error:
        raise BadInput(f"scorer {name}: {error}") from error
    except (StrictDataclassError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadInput(
            f"scorer {name}: got a {CONFIG_FILE} that does not fit ({one_line(error)}), expected that of a CLIPModel; "
            f"mend {files.config}"
        ) from error
    tokenizer = load_tokenizer(name, config.text_config.vocab_size, files.tokenizer)
    state = {key: tensor for key, tensor in tensors.items() if not key.endswith("position_ids")}
    model: Any = build_clip(name, config, state)
    model.to(resolve_device(options.device))
    contents = [
        file_digest(files.config),
        file_digest(files.weights),
        asdict(crop),
        *tokenizer_digests(files.tokenizer),
    ]
    return Clip(model, tokenizer, lambda image: crop_picture(image, crop), clean, digest(contents))


def build_clip(name: str, config: CLIPConfig, state: dict[str, torch.Tensor]) -> CLIPModel:
    """Return the model on the CPU in float32, without initialising weights that are replaced at once.

    Raises:
        BadInput: the tensors are not the config's.
    """
    try:
        with torch.device("meta"):
            model: Any = CLIPModel(config)
        model.load_state_dict(state, assign=True, strict=True)
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"scorer {name}: got tensors of other shapes than the config's ({one_line(error)}), expected a checkpoint "
            "and a config that belong together"
        ) from error
    for part in (model.text_model.embeddings, model.vision_model.embeddings):  # not in checkpoints, so still on "meta"
        part.position_ids = torch.arange(part.position_ids.shape[-1]).expand(1, -1)
    return model.requires_grad_(False).eval()


def load_tokenizer(name: str, vocab_size: int, folder: Path) -> CLIPTokenizer:
    """Return the CLIPTokenizer of a folder.

    Raises:
        BadInput: it does not load, or has not `vocab_size` tokens.
    """
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # `tokenizers` raises bare Exception on a corrupt file
        raise BadInput(
            f"scorer {name}: got no readable tokenizer in {folder} ({one_line(error)}), expected tokenizer.json or "
            "vocab.json and merges.txt; copy them there"
        ) from error
    if len(tokenizer) != vocab_size or tokenizer.eos_token_id is None:
        raise BadInput(
            f"scorer {name}: got a tokenizer of {len(tokenizer)} tokens in {folder}, expected "
            f"{vocab_size} as in the model's config; use the files that belong to it"
        )
    return tokenizer


def tokenizer_digests(folder: Path) -> list[str]:
    """Return the digests of the tokenizer files of a folder."""
    return [file_digest(path) for kind in TOKENIZER_FILES if (path := folder / kind).is_file()]


def folder_name(name: str, folder: Path) -> str:
    """Return the name of a scorer that was loaded from a folder: kind, parent and folder."""
    return f"{name}:{folder.resolve().parent.name}/{folder.resolve().name}"


def quiet() -> None:
    """Silence transformers, also when it was imported earlier, unless TRANSFORMERS_VERBOSITY asks for more."""
    if os.environ.get("TRANSFORMERS_VERBOSITY", "error") == "error":
        transformers.logging.set_verbosity_error()


def _unit(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features, dim=-1)

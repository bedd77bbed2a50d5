"""A scorer's folder with random weights of an official architecture, for checks that need no real weights."""

import gzip
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPModel, CLIPTokenizer

from scoring.open_clip_layout import VIT_H_14, OpenClipConfig, TextConfig, VisionConfig, to_open_clip_state_dict

ARCHITECTURES = {
    "ViT-B-32": OpenClipConfig(
        embed_dim=512,
        vision_cfg=VisionConfig(image_size=224, layers=12, width=768, patch_size=32),
        text_cfg=TextConfig(width=512, heads=8, layers=12),
    ),
    "ViT-H-14": VIT_H_14,
}
"""By open_clip's name."""
_MERGES = 49152 - 256 - 2


def save(folder: Path, architecture: str, vocabulary: Path, seed: int = 0) -> None:
    """Write config.json, weights.pt (float16, as the official ones) and the tokenizer.

    Biases and norms are moved off their zeros and ones, so that a mistake in any tensor shows.
    """
    config = ARCHITECTURES[architecture]
    (folder / "config.json").write_text(config.model_dump_json())
    torch.manual_seed(seed)
    model: Any = CLIPModel(config.to_transformers())
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        model.half()
    torch.save({"state_dict": to_open_clip_state_dict(model)}, folder / "weights.pt")
    tokenizer(vocabulary).save_pretrained(folder)


def tokenizer(vocabulary: Path) -> CLIPTokenizer:
    """Return CLIP's tokenizer from its file of byte pairs."""
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    letters = [chr(n) for n in _byte_letters()]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    kind: Any = CLIPTokenizer  # its signature says less than it takes
    return kind(vocab={token: n for n, token in enumerate(tokens)}, merges=merges, model_max_length=77)


def _byte_letters() -> list[int]:
    """Return the code points that stand for bytes: the printable ones for themselves, then 256 and on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return printable + list(range(256, 256 + 256 - len(printable)))

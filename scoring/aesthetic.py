"""LAION's aesthetic predictor (improved-aesthetic-predictor, `sac+logos+ava1-l14-linearMSE`) on transformers' CLIP.

How much people like a picture on average: a linear head on the unit features of CLIP ViT-L/14. The raw score is
nominally in [1, 10], the scale of its raters (the repository's issue 15), but nothing bounds it. **The prompt is
ignored.** The picture is cropped as CLIPImageProcessor does. Heavy: import it through `scoring.load_scorer`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from core.errors import BadInput
from core.records import ScoreItem
from core.text import digest
from scoring.chunked import ChunkedScorer
from scoring.clip import ClipFeatures, folder_files, folder_name, hub_files, load_clip
from scoring.files import file_digest, from_hub, read_tensors
from scoring.head import apply_head, read_head
from scoring.options import ScorerOptions
from scoring.preprocess import plain_prompt

CLIP_FOLDER = "clip"
HEAD_FILE, RELEASE = "mlp.safetensors", "sac+logos+ava1-l14-linearMSE.pth"
HUB_CLIP, HUB_HEAD = "openai/clip-vit-large-patch14", "camenduru/improved-aesthetic-predictor"
"""The head's own repository is on GitHub only; this one holds a copy of its file."""


def load(source: str | None, options: ScorerOptions) -> ChunkedScorer:
    """Load a folder with `clip/` (a transformers CLIPModel) and `mlp.safetensors` or the released .pth, or the release.

    Raises:
        BadInput: files are missing, corrupt, or do not belong together.
    """
    name = "aesthetic"
    if source is None:
        try:
            files, head_file = hub_files(name, HUB_CLIP), from_hub(name, HUB_HEAD, RELEASE, instead="FOLDER")
        except BadInput as error:
            raise BadInput(
                f"{error}; FOLDER holds clip/ ({HUB_CLIP}) and {RELEASE}, "
                "to be had from github.com/christophschuhmann/improved-aesthetic-predictor"
            ) from error
    else:
        folder = Path(source).expanduser()
        heads = [folder / file for file in (HEAD_FILE, RELEASE) if (folder / file).is_file()]
        if not heads:
            raise BadInput(
                f"scorer {name}: got no {HEAD_FILE} and no {RELEASE} in {folder}, expected one of them beside "
                f"{CLIP_FOLDER}/; check --scorer"
            )
        files, name, head_file = folder_files(name, folder / CLIP_FOLDER), folder_name(name, folder), heads[0]
    clip = load_clip(name, files, plain_prompt, options)
    try:
        head = read_head(read_tensors(head_file), clip.model.visual_projection.out_features).to(clip.model.device)
    except BadInput as error:
        raise BadInput(f"scorer {name}, {head_file}: {error}") from error
    features = ClipFeatures(clip, options.chunk)

    def values(items: Sequence[ScoreItem]) -> torch.Tensor:
        return apply_head(head, features.pictures([item.image for item in items])[: len(items)])

    model = nn.ModuleDict({"clip": clip.model, "head": head})
    return ChunkedScorer(name, digest(["aesthetic", clip.contents, file_digest(head_file)]), model, options, values)

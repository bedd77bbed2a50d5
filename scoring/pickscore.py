"""PickScore (arXiv 2305.01569, section "PickScore") on transformers: a CLIP ViT-H/14 tuned on Pick-a-Pic's choices.

The raw score is `logit_scale.exp()` times the cosine of picture and prompt (the section's first equation): within +-100
for CLIP's scale of 100, and near 20 for real pictures. The difference of two pictures of one prompt is the log-odds of
the preference; pictures of different prompts do not compare. Picture: CLIPImageProcessor's crop; text: the tokenizer's
own cleaning, cut at the model's context. Heavy: import it through `scoring.load_scorer`.
"""

from pathlib import Path

from core.text import digest
from scoring.chunked import ChunkedScorer
from scoring.clip import ClipFeatures, folder_files, folder_name, hub_files, load_clip
from scoring.options import ScorerOptions
from scoring.preprocess import plain_prompt

HUB_WEIGHTS, HUB_PROCESSOR = "yuvalkirstain/PickScore_v1", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


def load(source: str | None, options: ScorerOptions) -> ChunkedScorer:
    """Load a transformers CLIPModel folder, or the released model from the hub (its cache serves it offline).

    Raises:
        BadInput: files are missing, corrupt, or do not belong together.
    """
    name = "pickscore"
    if source is None:
        files = hub_files(name, HUB_WEIGHTS, HUB_PROCESSOR)
    else:
        folder = Path(source).expanduser()
        files, name = folder_files(name, folder), folder_name(name, folder)
    clip = load_clip(name, files, plain_prompt, options)
    features, scale = ClipFeatures(clip, options.chunk), clip.model.logit_scale.exp()
    return ChunkedScorer(
        name, digest(["pickscore", clip.contents]), clip.model, options, lambda items: scale * features.cosines(items)
    )

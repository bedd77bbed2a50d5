"""CLIPScore (arXiv 2104.08718, section 3), natively on transformers: how well a picture fits a text.

The raw score is 2.5 * max(cosine, 0), in [0, 2.5]; the paper chose the factor so that real pairs fill [0, 1]. Without a
folder the model is the paper's, OpenAI's ViT-B/32, and the paper's prefix "A photo depicts " is put before the prompt;
a folder gets the prompt alone. Text is cleaned as OpenAI's tokenizer does and cut at the model's context. The picture
is cropped as CLIPImageProcessor does; OpenAI's own code may cut one pixel beside it where an odd rest is halved. Heavy:
import it through `scoring.load_scorer`.
"""

from pathlib import Path

from core.text import digest
from scoring.chunked import ChunkedScorer
from scoring.clip import ClipFeatures, folder_files, folder_name, hub_files, load_clip
from scoring.options import ScorerOptions
from scoring.preprocess import clean_prompt

HUB_MODEL = "openai/clip-vit-base-patch32"
PREFIX = "A photo depicts "
"""Only for `HUB_MODEL`, with which the paper measured it."""
WEIGHT = 2.5


def load(source: str | None, options: ScorerOptions) -> ChunkedScorer:
    """Load a transformers CLIPModel folder, or the paper's model from the hub (its cache serves it offline).

    Raises:
        BadInput: files are missing, corrupt, or do not belong together.
    """
    name, prefix = "clipscore", ""
    if source is None:
        files, prefix = hub_files(name, HUB_MODEL), PREFIX
    else:
        folder = Path(source).expanduser()
        files, name = folder_files(name, folder), folder_name(name, folder)
    clip = load_clip(name, files, lambda prompt: clean_prompt(prefix + prompt), options)
    features = ClipFeatures(clip, options.chunk)
    return ChunkedScorer(
        name,
        digest(["clipscore", prefix, clip.contents]),
        clip.model,
        options,
        lambda items: WEIGHT * features.cosines(items).clamp(min=0),
    )

"""HPSv3 (arXiv 2508.03789) by its authors' package, `hpsv3`: Qwen2-VL-7B with a head for a mean and a deviation.

The raw score is the mean, mu, as the package's README takes it. It is unbounded, being trained on differences alone
(the authors, issue 9 of MizzenAI/HPSv3): the README's table has -0.24 for Stable Diffusion 2, 8.20 for SDXL, 10.55 for
Kolors. The checkpoint has about 16.5 GB. **Never run by us on real weights**: the tests put a package with the same
interface in its place.
"""

from pathlib import Path

from core.errors import BadInput
from scoring.files import file_digest, from_hub
from scoring.options import ScorerOptions
from scoring.package import PackageScorer

HUB_WEIGHTS, RELEASE = "MizzenAI/HPSv3", "HPSv3.safetensors"


def load(source: str | None, options: ScorerOptions) -> PackageScorer:
    """Load a checkpoint file, or the released one from the hub (its cache serves it offline).

    The package fetches the base model's configuration and processor from the hub by itself.

    Raises:
        BadInput: the file is missing, or the package is, or it does not work.
    """
    weights = from_hub("hpsv3", HUB_WEIGHTS, RELEASE) if source is None else Path(source).expanduser()
    if not weights.is_file():
        raise BadInput(f"scorer hpsv3: got no file {weights}, expected {RELEASE}; check --scorer")
    order = {"package": "hpsv3", "checkpoint": str(weights.resolve())}
    return PackageScorer("hpsv3", order, file_digest(weights), options)

"""HPSv2 by the authors' own package, `hpsv2` 1.2.0: for whoever wants the original to decide, and to check ours.

Raw cosine in [-1, 1] as in `scoring.hpsv2`. Differences to `hpsv2.score`: the checkpoint is loaded once, and pictures
are made RGB first (the package breaks on transparent ones). As there, CUDA computes in mixed precision, and non-square
pictures whose longest side is 224 fail. Prompts are taken as they are. `make parity` compares both with ours.
"""

from pathlib import Path

from core.errors import BadInput
from core.text import digest
from scoring.clip import folder_name
from scoring.files import file_digest, from_hub, read_json
from scoring.hpsv2 import CONFIG_FILE, HUB_WEIGHTS, RELEASES, WEIGHTS_FILE
from scoring.options import ScorerOptions
from scoring.package import PackageScorer

NAME = "hpsv2-package"


def load(source: str | None, options: ScorerOptions) -> PackageScorer:
    """Load release `2.1` (the default) or `2.0`, an official checkpoint file, or a folder as `hpsv2=FOLDER` takes.

    Raises:
        BadInput: files are missing, or the package is, or it does not work.
    """
    name, config = NAME, None
    if source is None or source in RELEASES:
        version = source or "2.1"
        name, weights = f"{NAME}:{version}", from_hub(NAME, HUB_WEIGHTS, RELEASES[version])
    else:
        weights = Path(source).expanduser()
        if weights.is_dir():
            name, config, weights = folder_name(NAME, weights), weights / CONFIG_FILE, weights / WEIGHTS_FILE
            _refuse_other_vocabulary(config)
        if not weights.is_file():
            raise BadInput(
                f"scorer {NAME}: got no file {weights}, expected 2.0, 2.1, a checkpoint or a scorer's folder; "
                "check --scorer"
            )
    order = {"package": "hpsv2", "checkpoint": str(weights.resolve()), "config": config and str(config.resolve())}
    contents = digest([file_digest(weights), file_digest(config) if config else None])
    return PackageScorer(name, order, contents, options)


def _refuse_other_vocabulary(config: Path) -> None:
    text = read_json(NAME, config).get("text_cfg")
    text = text if isinstance(text, dict) else {}
    found = (text.get("vocab_size", 49408), text.get("context_length", 77))
    if found != (49408, 77):
        raise BadInput(
            f"scorer {NAME}: got {found[0]} tokens and a context of {found[1]} in {config}, expected 49408 and 77, the "
            "package's own tokenizer; use hpsv2=FOLDER"
        )

"""What a finished run left behind: its instruction set, and the role templates that it was tuned with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.guards import without_keep_tags
from agents.messages import Templates, load_templates
from core.errors import BadInput
from experiments.config import RunConfig
from experiments.folder import RunFolder, read_json
from experiments.status import reading


def finished(folder: RunFolder) -> dict[str, Any]:
    """Return a run's instruction set.

    Raises:
        BadInput: the run has no result yet, or the file is damaged.
    """
    if not folder.instructions_file.is_file() or not folder.summary_file.is_file():
        raise BadInput(
            f"run {folder.name!r} has no result yet, expected a completed run; "
            f"finish it with `brushup resume {folder.name}`"
        )
    found = read_json(folder.instructions_file)
    if not any(arm["id"] == found["best"] for arm in found["instructions"]):
        raise BadInput(f"{folder.instructions_file} lacks its best instruction; the file is damaged: resume the run")
    return found


def told(instruction: Mapping[str, Any]) -> str:
    """Return an instruction of the set as an LLM is told it."""
    return without_keep_tags(instruction["text"])


def run_templates(folder: RunFolder, config: RunConfig) -> Templates:
    """Return the role templates of a run.

    Raises:
        BadInput: the files are gone, or were changed since.
    """
    templates = load_templates(Path(config.agents.templates) if config.agents.templates else None)
    with reading(folder) as store:
        known = store.fact("identity/templates")
    if known is not None and known != templates.digest:
        where = config.agents.templates or "this brushup"
        raise BadInput(
            f"the role templates of {where} are not those of run {folder.name!r} "
            f"(digest {templates.digest}, was {known}); restore them"
        )
    return templates

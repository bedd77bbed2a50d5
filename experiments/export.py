"""Taking a tuned instruction set out of a run: everything that is needed to use it elsewhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.guards import without_keep_tags
from agents.messages import PLACEHOLDERS, Templates, load_templates
from agents.settings import settings_for
from core.errors import BadInput
from experiments.config import RunConfig, parse_config
from experiments.folder import RunFolder, read_json, write_text
from experiments.status import reading

FORMATS = ("json", "text")


def export_run(folder: RunFolder, form: str) -> str:
    """Return a finished run's result as text: the whole instruction set as JSON, or the best instruction alone.

    Raises:
        BadInput: no such format, no result yet, or the role templates are not those of the run.
    """
    if form not in FORMATS:
        raise BadInput(f"--format is {form!r}; expected one of: {', '.join(FORMATS)}")
    found = finished(folder)
    if form == "text":
        return best_text(found) + "\n"
    return json.dumps(instruction_file(folder, found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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


def best_text(found: Mapping[str, Any]) -> str:
    """Return the best instruction as an LLM is told it."""
    return without_keep_tags(next(arm["text"] for arm in found["instructions"] if arm["id"] == found["best"]))


def instruction_file(folder: RunFolder, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the instruction set with its evidence, the role templates and the settings it was tuned with."""
    summary = read_json(folder.summary_file)
    config = parse_config(summary["config"], source=str(folder.summary_file))
    best = summary["best_instruction"]
    settings = settings_for(config.agents.llm)
    templates = run_templates(folder, config)
    return {
        **found,
        "run": folder.name,
        "validation": {key: best[key] for key in ("mean", "ci95", "n")},
        "holdout": summary["holdout"],
        "settings": {
            "llm": config.agents.llm,
            "keep": config.agents.keep,
            "generator_exemplars": min(config.agents.generator_exemplars, settings.examples),
            "corpus": config.prompts.corpus,
            "temperature": settings.generator.temperature,
            "max_tokens": settings.generator.max_tokens,
            "max_prompt_chars": settings.max_prompt_chars,
            "negative": config.agents.negative,
        },
        "templates": {role: getattr(templates, role) for role in PLACEHOLDERS},
    }


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


def write_export(path: Path, text: str) -> None:
    """Write an export atomically: the old file stays whole until the new one is.

    Raises:
        BadInput: the path is a folder, or cannot be written.
    """
    if path.is_dir():
        raise BadInput(f"--output is {path}, a folder; expected a file: name one in it")
    try:
        write_text(path, text)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}; choose another --output") from None

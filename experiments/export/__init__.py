"""Taking what a run learned into other tools. One function a format; a new one is that function and one line here.

Formats of other tools are described in docs/exports.md, and read back by those tools' own rules in tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from experiments.export.chat import langchain, messages
from experiments.export.comfyui import comfyui
from experiments.export.instructions import instruction_set, markdown, text
from experiments.export.source import Source, open_source
from experiments.export.styles import invokeai, sdxl_styles, styles_csv, wildcards
from experiments.folder import RunFolder, write_text


@dataclass(frozen=True)
class Format:
    """A form of export.

    Attributes:
        write: makes the file's text.
        json: whether that text is JSON.
        many: whether it can hold more than one instruction (--top).
        prompted: whether it can be made for a prompt (--prompt).
    """

    write: Callable[[Source], str]
    json: bool = False
    many: bool = True
    prompted: bool = False


FORMATS: Mapping[str, Format] = {
    "json": Format(instruction_set, json=True, prompted=True),
    "messages": Format(messages, json=True, many=False, prompted=True),
    "text": Format(text),
    "markdown": Format(markdown),
    "styles-csv": Format(styles_csv),
    "sdxl-styles": Format(sdxl_styles, json=True),
    "invokeai": Format(invokeai, json=True),
    "wildcards": Format(wildcards),
    "langchain": Format(langchain, json=True, many=False),
    "comfyui": Format(comfyui, json=True, many=False, prompted=True),
}


@dataclass(frozen=True)
class Export:
    """A file's text. `notes` say what differs from the run."""

    text: str
    notes: tuple[str, ...]


def export_run(folder: RunFolder, form: str, *, top: int | None = None, prompt: str | None = None) -> Export:
    """Return what a finished run learned, in one of the formats; the same run always gives the same bytes.

    Args:
        folder: the run.
        form: a name of `FORMATS`.
        top: how many instructions, best first; by default the best alone, and all of them in `json`.
        prompt: a naive prompt to fill in; by default the placeholder `{prompt}` stays.

    Raises:
        BadInput: no such format, one that takes no `top` or `prompt`, no result yet, templates that were changed, or
            nothing that could be exported so.
    """
    if form not in FORMATS:
        raise BadInput(f"--format is {form!r}; expected one of: {', '.join(FORMATS)}")
    found = FORMATS[form]
    if top is not None and top < 1:
        raise BadInput(f"--top is {top}; expected at least 1")
    if top is not None and top > 1 and not found.many:
        raise BadInput(f"--top is {top}; --format {form} holds one instruction: leave --top out")
    if prompt is not None and not found.prompted:
        raise BadInput(f"--format {form} takes no --prompt; expected one of: {', '.join(_prompted())}")
    source = open_source(folder, top=top, prompt=prompt)
    return Export(found.write(source), tuple(source.notes))


def _prompted() -> list[str]:
    return [name for name, form in FORMATS.items() if form.prompted]


def write_export(path: Path, content: str, *, flag: str = "--output") -> None:
    """Write an export atomically: the old file stays whole until the new one is.

    Raises:
        BadInput: the path is a folder, or cannot be written.
    """
    if path.is_dir():
        raise BadInput(f"{flag} is {path}, a folder; expected a file: name one in it")
    try:
        write_text(path, content)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}; choose another {flag}") from None

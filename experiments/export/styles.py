"""Exports for picture tools: one style an instruction, made of its learned phrases.

Phrases are untrusted text (an LLM wrote them), and every tool has a syntax of its own in its prompts. What a tool can
escape is escaped; what it cannot is left out.
"""

import csv
import io
import re
from collections.abc import Callable

from core.errors import BadInput
from core.text import phrases, unique
from experiments.export.source import PLACEHOLDER, Source, as_json

Escape = Callable[[str], str]
_NO_ESCAPE = re.compile(r"[{}<>#$%|]|//+|/\*")
"""What starts or ends something in dynamic prompts, wildcards, comments or extra networks, and has no escape in all."""
_FORMULA = "=+-@\t\r\n "
"""What a spreadsheet may take for the beginning of a formula."""
_BRACKETS = re.compile(r"[\\()\[\]]")
_KEYWORDS = re.compile(r"\b(?:AND|BREAK)\b")
_TRAILING_WEIGHT = re.compile(r":\s*([+-]?[\d.]+)\s*$")


def plain(phrase: str) -> str:
    """Return a phrase without what none of the tools can say literally, and without a formula's beginning."""
    text = _NO_ESCAPE.sub(" ", phrase).replace("::", ":")
    return " ".join(re.sub("__+", "_", text).split()).lstrip(_FORMULA)


def for_a1111(phrase: str) -> str:
    r"""Return a phrase that A1111 and Forge read literally.

    Brackets change the attention unless they are escaped (`\(`), AND and BREAK split a prompt, and a number after a
    colon at a prompt's end is its weight (stable-diffusion-webui-forge, modules/prompt_parser.py). Fooocus reads alike.
    """
    text = _BRACKETS.sub(r"\\\g<0>", plain(phrase))
    text = _KEYWORDS.sub(lambda found: found[0].lower(), text)
    return _TRAILING_WEIGHT.sub(r" \1", text)


def for_comfyui(phrase: str) -> str:
    r"""Return a phrase that ComfyUI reads literally: round brackets alone have a meaning (comfy/sd1_clip.py)."""
    return re.sub(r"[()]", r"\\\g<0>", plain(phrase))


def for_compel(phrase: str) -> str:
    """Return a phrase that InvokeAI reads literally: compel weighs by brackets and by + and - after a word."""
    return re.sub(r"[+-]+(?=[\s,]|$)", "", re.sub(r"[\\()\[\]\"]", " ", plain(phrase))).strip()


def style_of(source: Source, arm: str, escape: Escape) -> tuple[str, str]:
    """Return an instruction's style: a prompt with the placeholder in it, and a negative prompt (the fixed one first).

    A run that drew on A1111 or ComfyUI measured its phrases with their attention syntax, so there brackets stay.

    Raises:
        BadInput: the instruction adds nothing to most prompts.
    """
    learned, render = source.learned(arm), source.config.render
    if not learned.style and not learned.negative_style:
        raise BadInput(
            f"instruction {arm} adds no phrase to half of the prompts or more: it writes each in its own way, so "
            "there is no style to export; use --format messages, langchain or text"
        )
    if str(render.renderer).startswith(("a1111=", "comfyui=")):
        escape = plain
    prompt, negative = (
        unique(text for phrase in style if _closed(phrase) and (text := escape(phrase)))
        for style in (learned.style, [*phrases(render.negative_prompt), *learned.negative_style])
    )
    return ", ".join([PLACEHOLDER, *prompt]), ", ".join(negative)


def _closed(phrase: str) -> bool:
    """Say whether brackets are balanced: a comma inside brackets leaves half of them in each phrase."""
    return all(phrase.count(left) == phrase.count(right) for left, right in ("()", "[]"))


def _named(source: Source, escape: Escape) -> list[dict[str, str]]:
    """Return the chosen instructions' styles with unique names."""
    found = []
    for arm in source.chosen:
        prompt, negative = style_of(source, arm["id"], escape)
        name = f"brushup {source.folder.name} {arm['id']}"
        found.append({"name": name, "prompt": prompt, "negative_prompt": negative})
    return found


def styles_csv(source: Source) -> str:
    """Return `styles.csv` of A1111 and Forge (modules/styles.py)."""
    file = io.StringIO()
    writer = csv.DictWriter(file, ["name", "prompt", "negative_prompt"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_named(source, for_a1111))
    return file.getvalue()


def sdxl_styles(source: Source) -> str:
    """Return a file of sdxl_prompt_styler and Fooocus (`sdxl_styles/*.json`)."""
    return as_json(_named(source, for_a1111))


def invokeai(source: Source) -> str:
    """Return prompt templates for InvokeAI's import (style_preset_records_common.py)."""
    return as_json(_named(source, for_compel))


def wildcards(source: Source) -> str:
    """Return all learned phrases of the chosen instructions but harmful ones, one a line (dynamicprompts)."""
    learned = [phrase for arm in source.chosen for phrase in source.learned(arm["id"]).phrases]
    found = [phrase.text for phrase in learned if not phrase.harmful and _closed(phrase.text)]
    lines = unique(line for line in map(for_a1111, found) if line)
    if not lines:
        raise BadInput(
            "the instructions add no phrase to more than one prompt; use --format messages, langchain or text"
        )
    ids = ", ".join(arm["id"] for arm in source.chosen)
    return "\n".join([f"# brushup {source.folder.name}: phrases of {ids}", *lines, ""])

"""Role templates and the tagged sections that code inserts into them. Pure, but for reading template files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from core.records import Message
from core.text import digest

DEFAULT_FOLDER = Path(__file__).parent / "templates"

PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "generator": frozenset({"instruction", "examples", "prompt", "rules"}),
    "gradient": frozenset({"instruction", "results", "examples"}),
    "modifier": frozenset({"instruction", "gradient", "examples", "rules", "count"}),
}
"""The placeholders that each role's template must have, all of them."""

_TAGS = "instruction|examples|prompt|rules|results|gradient"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_OWN_TAG = re.compile(rf"<(/?(?:{_TAGS})>)", re.IGNORECASE)
_ESCAPED_TAG = re.compile(rf"&lt;(/?(?:{_TAGS})>)", re.IGNORECASE)
_SECTION = re.compile(rf"<({_TAGS})>\n(.*?)\n</\1>", re.DOTALL)


@dataclass(frozen=True)
class Templates:
    """The three role templates."""

    generator: str
    gradient: str
    modifier: str

    @property
    def digest(self) -> str:
        """Hash of the templates; part of what determines a run."""
        return digest([self.generator, self.gradient, self.modifier])

    def fill(self, role: str, values: Mapping[str, str]) -> tuple[Message, ...]:
        """Return the message of a role. Values are inserted in one pass, so braces inside them stay as they are."""
        template: str = getattr(self, role)
        return (Message("user", _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)),)


def load_templates(folder: Path | None = None) -> Templates:
    """Read `generator.txt`, `gradient.txt` and `modifier.txt` from the user's folder, or from the package's own.

    Raises:
        BadInput: a file is missing or unreadable, or a placeholder is missing or unknown.
    """
    source = DEFAULT_FOLDER if folder is None else folder
    return Templates(**{role: _read(source / f"{role}.txt", names) for role, names in PLACEHOLDERS.items()})


def _read(path: Path, names: frozenset[str]) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"cannot read the role template {path} ({type(error).__name__}); a template folder needs generator.txt,"
            " gradient.txt and modifier.txt: copy them from agents/templates and edit the copies"
        ) from None
    found = set(_PLACEHOLDER.findall(text))
    if found != names:
        wrong = [f"{{{name}}} is missing" for name in sorted(names - found)]
        wrong += [f"{{{name}}} is unknown" for name in sorted(found - names)]
        expected = ", ".join(f"{{{name}}}" for name in sorted(names))
        raise BadInput(f"role template {path}: {', '.join(wrong)}; expected exactly {expected}")
    return text


def section(tag: str, text: str) -> str:
    """Return `text` between `<tag>` and `</tag>`; tags of ours inside it are escaped, so that it cannot break out."""
    body = _OWN_TAG.sub(r"&lt;\1", text)
    return f"<{tag}>\n{body}\n</{tag}>"


def example_section(exemplars: Sequence[str]) -> str:
    """Return the exemplars, one a line."""
    return section("examples", "\n".join(one_line(text) for text in exemplars) or "(none)")


def sections(message: str) -> dict[str, str]:
    """Return the tagged sections of a filled template, as any reader of the message sees them."""
    return {match.group(1): _ESCAPED_TAG.sub(r"<\1", match.group(2)) for match in _SECTION.finditer(message)}


def example_lines(parts: Mapping[str, str]) -> list[str]:
    """Return the exemplars of a message's sections."""
    return [line for line in parts.get("examples", "").splitlines() if line and line != "(none)"]


def one_line(text: str) -> str:
    """Return the text with every run of white space turned into one space."""
    return " ".join(text.split())

"""A matplotlib figure as SVG inside a page: text stays text, colours follow the page's theme, ids do not collide.

Matplotlib knows nothing of CSS. So a chart is drawn in the few stand-in colours of `Ink`, and each is replaced by the
page's variable of the same meaning: one drawing serves light, dark and paper.
"""

import io
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = 8
"""Colours for series; further ones begin again."""


class Ink:
    """The stand-in colours."""

    TEXT = "#010101"
    MUTED = "#020202"
    LINE = "#030303"
    GOOD = "#040404"
    PAPER = "#050505"

    @staticmethod
    def series(place: int) -> str:
        """Return the colour of the series at a place."""
        return f"#0a00{place % SERIES:02x}"


_VARIABLES = {
    Ink.TEXT: "var(--ink)",
    Ink.MUTED: "var(--muted)",
    Ink.LINE: "var(--line)",
    Ink.GOOD: "var(--good)",
    Ink.PAPER: "var(--paper)",
    **{Ink.series(place): f"var(--series-{place})" for place in range(SERIES)},
}
RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
}


def inline(figure: "Figure", name: str, description: str) -> Markup:
    """Return a figure as an `<svg>` element for an HTML page.

    Args:
        figure: drawn in the colours of `Ink`.
        name: distinguishes this chart's ids from those of the page's other charts.
        description: what a reader who cannot see it should know.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({**RC, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 - matplotlib's own output
    for parent in list(root.iter()):
        for child in [*parent.findall("{*}metadata"), *parent.findall("{*}style")]:
            parent.remove(child)  # the style is a rule for `*`, which inside a page is everything: style.css has it
    for element in root.iter():
        _adapt(element, name)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description, "class": "chart"}
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    return Markup(text)  # noqa: S704 - serialised from a tree, so that every text in it is escaped


def _adapt(element: ElementTree.Element, name: str) -> None:
    """Drop namespaces (HTML needs none), give ids the chart's name, and let CSS decide on colours and fonts."""
    element.tag = element.tag.rpartition("}")[2]
    element.attrib = {key.rpartition("}")[2]: _value(key, value, name) for key, value in element.attrib.items()}


def _value(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return value.replace("#", f"#{name}-", 1)
    if key == "clip-path":
        return value.replace("url(#", f"url(#{name}-")
    if key == "style":
        value = re.sub(r"font: (?:[\w.]+ )*?([\d.]+px) [^;]*", r"font-size: \1", value)
        value = re.sub(r"font-family: [^;]*;? ?", "", value)
        return re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), value)
    return value

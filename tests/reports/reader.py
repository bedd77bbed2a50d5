"""Reads a page as a browser does, and holds it to what every report promises."""

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A parsed page: its tags, the text of its body, its title and its style."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.title = ""
        self.style = ""
        self._open: list[str] = []
        self.feed(str(html))
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in <{tag}>: {names}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()
        if tag in ("td", "th", "dt", "dd", "li"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in ("title", "style"):
            setattr(self, inside, getattr(self, inside) + data)
        else:
            self.text += data

    @property
    def words(self) -> str:
        """The text with white space evened out."""
        return " ".join(self.text.split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def check(html: str) -> Page:
    """Assert what holds for every page, and return it parsed."""
    page = Page(html)
    allowed = (
        "html head meta title style body header main nav section article figure figcaption div span p a b em small br"
        " h1 h2 h3 h4 h5 ul li dl dt dd table caption thead tbody tr th td details summary img mark ins del bdi code"
        " svg g path defs clippath rect use text tspan"
    ).split()
    assert {tag for tag, _ in page.tags} <= set(allowed)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids)), sorted(name for name in ids if ids.count(name) > 1)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:image/webp;base64,")), (tag, name, target[:80])
            if target.startswith("#") and len(target) > 1:
                assert target[1:] in ids, f"{target} leads nowhere"
        for value in attributes.get("aria-labelledby", "").split():
            assert value in ids
        inner = attributes.get("style", "") + attributes.get("clip-path", "")
        assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)", inner)), inner
    assert not re.search(r"@import|url\(", page.style)
    [policy] = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for image in page.all("img"):
        assert image["alt"]
        assert int(image["width"]) > 0
    for chart in page.all("svg"):
        assert chart["role"] == "img"
        assert chart["aria-label"]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    return page

"""Pages: whatever a prompt holds stays text, and a page needs nothing but itself."""

from dataclasses import replace

import pytest

from reports import comparison_page, run_page
from reports.charts import Bar, forest
from reports.page import clear, family, interval, number, signed
from tests.reports.reader import Page, check
from tests.reports.samples import GAIN, UNCLEAR, a_comparison, a_run

pytestmark = pytest.mark.slow  # matplotlib draws each chart in a tenth of a second

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</svg></style></title></pre></details><h1>taken over</h1>",
    "<!-- --><![CDATA[ ]]>",
    "{{ 7 * 7 }}{% include 'x' %}{# gone #}",
    "&lt;b&gt; &amp; &#x3C;script&#62;",
    "$x_1^2$ and $\\frac{1}$",
    "\u202eevil\u202c קצת עברית",
    "一只红色的猫 🦊🎨 赤い猫",
    "https://example.com/x.png javascript:alert(1)",
    "100% {0} %s",
]


ALL = " ~ ".join(HOSTILE)


@pytest.mark.parametrize(("render", "sample"), [(run_page, a_run), (comparison_page, a_comparison)])
def test_untrusted_text_stays_text(render, sample) -> None:
    page = check(render(sample(ALL)))
    assert ALL in page.title
    assert page.text.count(ALL) > 10
    assert any(ALL[:200] in image["alt"] for image in page.all("img"))


def test_untrusted_text_stays_text_inside_a_chart() -> None:
    bars = [Bar(text, GAIN) for text in HOSTILE]
    drawn = Page(forest("one", bars, scale=1, axis=HOSTILE[0], description=HOSTILE[1]))
    assert {tag for tag, _ in drawn.tags} <= set("svg g path defs clippath rect use text tspan".split())
    assert drawn.all("svg")[0]["aria-label"] == HOSTILE[1]
    for text in HOSTILE:
        shown = "".join(letter for letter in text if letter.isprintable())[:20].strip()
        assert shown in " ".join(drawn.text.split())
    assert "$x_1^2$" in drawn.text, "not set as mathematics"


def test_a_very_long_text_is_folded_and_whole() -> None:
    text = "very long, " * 3000
    page = check(run_page(a_run(text)))
    assert text in page.text
    assert "(33,000 characters)" in page.words


def test_control_characters_and_lone_surrogates_do_not_break_a_page() -> None:
    for text in ("a\x00b\x07c", "a\ud800b"):
        run_page(a_run(text)).encode("utf-8")
        comparison_page(a_comparison(text)).encode("utf-8")


def test_the_same_report_gives_the_same_bytes() -> None:
    assert run_page(a_run("a cat")) == run_page(a_run("a cat"))
    assert comparison_page(a_comparison("ucb1")) == comparison_page(a_comparison("ucb1"))


def test_charts_follow_the_theme() -> None:
    for html in (run_page(a_run("a cat")), comparison_page(a_comparison("ucb1"))):
        charts = html[html.index("<svg") : html.rindex("</svg>")]
        assert "var(--good)" in charts
        for fixed in ("#0", "#f", "rgb(", "DejaVu"):
            assert fixed not in charts.replace("url(#", ""), "a colour or font that no theme can change"


def test_an_empty_report_is_a_page() -> None:
    full = a_run("x")
    empty = replace(
        full,
        **dict.fromkeys("missing warnings test groups duels phrases rounds arms watched ledger".split(), ()),
        gallery=None,
        validation=None,
        best="",
        failures=None,
    )
    page = check(run_page(empty))
    assert "No instruction has a result yet." in page.words
    assert page.all("svg") == []


def test_children_stand_under_their_parents_and_a_gradient_on_its_edge() -> None:
    arms = a_run("Add light.").arms
    [root] = family(arms)
    assert root["arm"].id == "r0c0"
    [(gradient, children)] = root["edges"]
    assert gradient == "Add light."
    assert [child["arm"].id for child in children] == ["r1c0", "r1c1"]
    later = replace(arms[2], gradient="Drop light.")
    [root] = family((*arms[:2], later))
    assert [gradient for gradient, _ in root["edges"]] == ["Add light.", "Drop light."]
    assert len(family((replace(arms[1], parent="gone"), arms[0]))) == 2


def test_a_long_line_of_descent_is_a_page() -> None:
    report = a_run("Add light.")
    arms = [replace(report.arms[0], id="a0")]
    arms += [replace(report.arms[1], id=f"a{k}", parent=f"a{k - 1}", gradient=f"g{k}") for k in range(1, 400)]
    page = check(run_page(replace(report, arms=tuple(arms), best="a399")))
    assert sum(item.get("class", "").startswith("arm") for item in page.all("details")) == 400


def test_numbers() -> None:
    assert number(0.12345, 100) == "12.35"
    assert signed(-0.001, 100) == "−0.10"
    assert number(None) == "–"
    assert interval(GAIN, 100) == "[+4.86, +7.86]"
    assert [clear(e) for e in (GAIN, UNCLEAR, replace(GAIN, n=1))] == ["ahead", *["not clear of zero"] * 2]

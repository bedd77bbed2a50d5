"""`brushup study`: the page is blind, complete and harmless, and what it saves can be imported."""

import base64
import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Brushup

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def make(brushup: Brushup, home: Path, *more: object) -> tuple[str, str, dict]:
    """Export a study of the run and return page, CSV and key."""
    page = home.parent / "study.html"
    done = brushup("study", "export", "one", "-o", page, "--home", home, "--json", *more)
    assert (done.code, done.err) == (0, "")
    assert done.json["page"] == str(page)
    texts = [Path(done.json[name]).read_text(encoding="utf-8") for name in ("page", "pairs", "key")]
    return texts[0], texts[1], json.loads(texts[2])


def content(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def picture(data: str) -> Image.Image:
    assert data.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))


def test_the_key_knows_which_picture_is_whose_and_the_page_does_not(brushup: Brushup, warm: Path) -> None:
    page, table, key = make(brushup, warm, "--pairs", 12)
    best = json.loads((warm / "one/instructions.json").read_text())["best"]
    pairs = content(page)["pairs"]
    assert len(pairs) == len(key["pairs"]) == 12
    assert (key["best"], key["rival"]) == (best, "naive")
    store = sqlite3.connect(warm / "one/run.db")
    for pair in pairs:
        known = key["pairs"][pair["id"]]
        assert {known["left"], known["right"]} == {best, "naive"}
        for side in ("left", "right"):
            shown = picture(pair[side])
            assert not shown.info, "text chunks would name the instruction"
            [(drawn,)] = store.execute(
                "SELECT key FROM render JOIN block ON block.id = block_id WHERE arm = ? AND prompt_id = ?"
                " AND split = 'test' AND block.place = 0",
                [known[side], known["prompt_id"]],
            )
            with Image.open(warm / f"cache/images/{drawn[:2]}/{drawn}.png") as original:
                assert shown.tobytes() == original.tobytes()
    store.close()
    assert {key["pairs"][pair["id"]]["left"] for pair in pairs} == {best, "naive"}, "sides are drawn by lot"
    without_pictures = re.sub(r"data:image/png;base64,[^\"]*", "", page)
    for text in (without_pictures, table):
        for name in (best, "naive", "r0c0", "brushup", str(warm)):
            assert name not in text
    assert [row["pair"] for row in csv.DictReader(table.splitlines())] == [pair["id"] for pair in pairs]
    prompts = [pair["prompt"] for pair in pairs]
    assert prompts != sorted(prompts)


def test_the_same_run_gives_the_same_study(brushup: Brushup, warm: Path) -> None:
    assert make(brushup, warm) == make(brushup, warm)
    _, _, key = make(brushup, warm, "--against", "initial")
    assert key["rival"] == "r0c0"


def test_the_page_is_one_file_that_asks_no_network(brushup: Brushup, warm: Path) -> None:
    page, _, _ = make(brushup, warm, "--pairs", 2)
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=|https?://|@import|url\(", page)


def test_prompts_are_untrusted(brushup: Brushup, warm: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>__STUDY__"
    database = sqlite3.connect(warm / "one/run.db")
    with database:
        database.execute("UPDATE prompt SET text = ? WHERE split = 'test'", [hostile])
    page, _, _ = make(brushup, warm, "--pairs", 1)
    assert "<img" not in page
    assert content(page)["pairs"][0]["prompt"] == hostile
    with database:
        database.execute("UPDATE prompt SET text = '=HYPERLINK(1)' WHERE split = 'test'")
    database.close()
    _, table, _ = make(brushup, warm, "--pairs", 1)
    assert "'=HYPERLINK" in table


def test_votes_come_back(brushup: Brushup, warm: Path) -> None:
    _, table, key = make(brushup, warm, "--pairs", 8)
    rows = list(csv.DictReader(table.splitlines()))
    for row in rows:
        ours = "left" if key["pairs"][row["pair"]]["left"] == key["best"] else "right"
        row |= {"annotator": "AB", "preference": ours, f"relevance_{ours}": "2"}
    votes = warm.parent / "votes.csv"
    with votes.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    done = brushup("study", "import", votes, "--home", warm, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["preference"]["win"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 8}
    assert done.json["relevance"]["best"]["mean"] == 2.0
    assert done.json["relevance"]["rival"] is None
    assert set(done.json["scorer_agreement"]) == {"fake-scorer", "fake-watched"}
    shown = brushup("study", "import", votes, "--key", warm / "one" / f"study-{key['study']}.key.json")
    assert shown.code == 0
    assert f"people prefer the pictures of {key['best']}" in shown.err


def test_what_cannot_be_made_is_refused(brushup: Brushup, home: Path, warm: Path) -> None:
    page = home.parent / "study.html"
    export = ("study", "export", "one", "--home", warm, "-o")
    brushup(*export, page, "--against", "me").refused("--against is 'me'", "naive, initial, frequent")
    brushup(*export, page, "--pairs", 0).refused("--pairs is 0")
    brushup(*export, home.parent / "study").refused("ends in .html")
    shutil.rmtree(warm / "cache/images")
    brushup(*export, page).refused("no test prompt", "pruned")
    brushup("study", "import", home.parent / "none.csv", "--key", home.parent / "none.json").refused(
        "cannot read --key"
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_a_browser_saves_votes_that_can_be_imported(brushup: Brushup, warm: Path) -> None:
    """Keys and buttons in a real browser, and the text of the file that the page saves."""
    page, _, key = make(brushup, warm, "--pairs", 2)
    act = """
    const press = (...keys) => keys.forEach((key) => document.body.dispatchEvent(
      new KeyboardEvent("keydown", {key, bubbles: true})));
    $("name").value = "=A\\"B"; $("begin").click();
    press("ArrowLeft", "Enter");
    if (at !== 0) document.title = "an incomplete answer went through";
    press("d", "j", "Enter");
    $("choice-tie").click(); $("left-1").click(); $("right-2").click(); $("next").click();
    const out = document.createElement("pre");
    out.id = "out"; out.textContent = btoa(csv()); document.body.append(out);
    """
    driven = warm.parent / "driven.html"
    driven.write_text(page.replace("build();\n</script>", f"build();{act}</script>"), encoding="utf-8")
    arguments = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={warm.parent / 'profile'}",
    ]
    done = subprocess.run([*arguments, "--dump-dom", driven.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="out">([^<]+)</pre>', done.stdout)
    assert found, done.stderr[-500:]
    assert "<title>Picture study</title>" in done.stdout
    votes = warm.parent / "votes.csv"
    votes.write_bytes(base64.b64decode(found[1]))
    rows = list(csv.DictReader(io.StringIO(votes.read_text())))
    assert [(row["preference"], row["relevance_left"], row["relevance_right"]) for row in rows] == [
        ("left", "2", "0"),
        ("tie", "1", "2"),
    ]
    assert {row["annotator"] for row in rows} == {"'=A\"B"}
    assert brushup("study", "import", votes, "--home", warm, "--json").json["pairs"] == 2
    assert key["study"] == rows[0]["study"]

"""`brushup refine` with trained refiners: files that resume, pipes, wishes, pictures, prompts of every kind."""

import io
import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import experiments.answers
import rendering
from core.records import RenderRequest
from core.text import words
from refiner import REFINERS
from refiner.folder import Manifest, writing
from refiner.prip.model import save_pretrained
from refiner.sft import save_causal
from tests.cli.conftest import Brushup
from tests.fakes import FakeRenderer
from tests.refiner import toy_refiner
from tests.refiner.tiny import tiny_lm, tiny_prip, tiny_tokenizer

pytestmark = pytest.mark.slow
LABEL = "trained on the miniworld: a toy"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "refiners.md"


class Plain(FakeRenderer):
    def _draw(self, request: RenderRequest) -> Image.Image:
        return Image.new("RGB", (8, 8), (len(request.prompt), request.seed % 256, 0))


@pytest.fixture(scope="module")
def refiners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a language model `np`, one that replaces the prompt, `bp`, a pivot refiner `pv`, a toy `toy`."""
    home = tmp_path_factory.mktemp("trained")
    search = {"style": "neuroprompts", "search": {"beam": 4, "max_tokens": 8, "min_tokens": 1}}
    save_causal(home / "refiners/np", tiny_lm(), tiny_tokenizer(), Manifest("causal", LABEL, "CC0", settings=search))
    whole = {"style": "beautifulprompt", "generation": {"max_new_tokens": 6}}
    save_causal(home / "refiners/bp", tiny_lm(), tiny_tokenizer(), Manifest("causal", LABEL, "CC0", settings=whole))
    settings = {"answering": {"max_new_tokens": 6}}
    save_pretrained(home / "refiners/pv", tiny_prip(), Manifest("prip", LABEL, "CC0", settings=settings))
    with writing(home / "refiners/toy", Manifest("phrases", LABEL, "CC0", settings={"phrases": ["gold"]})):
        return home


@pytest.mark.parametrize("name", ["np", "pv"])
def test_a_line_a_prompt_and_the_label(brushup: Brushup, refiners: Path, name: str) -> None:
    done = brushup("refine", "a red boat.", "the sea", "--refiner", name, "--home", refiners)
    assert done.code == 0, done
    assert [line.split(",")[0].strip() for line in done.out.splitlines()] == ["a red boat", "the sea"]
    assert f"refiner: {LABEL}" in done.err
    rows = brushup("refine", "a red boat.", "the sea", "--refiner", name, "--home", refiners, "--json").json
    assert [row["refined"] for row in rows] == done.out.splitlines()
    assert {row["refiner"] for row in rows} == {LABEL}


@pytest.mark.parametrize("name", ["np", "pv"])
def test_several_refinements_and_wishes(brushup: Brushup, refiners: Path, name: str) -> None:
    flags = ["--must", "gold", "--must-not", "blue", "--want", "style=house", "--n", 3, "--json"]
    rows = brushup("refine", "a red boat", "--refiner", refiners / "refiners" / name, *flags, "--home", refiners).json
    assert 1 < len(rows) <= 3
    assert [(row["variant"], row["variants"]) for row in rows] == [(k, len(rows)) for k in range(len(rows))]
    assert len({row["refined"] for row in rows}) == len(rows)
    for row in rows:
        assert "blue" not in row["refined"]
        met = {wish["label"]: wish["met"] for wish in row["satisfaction"]}
        assert set(met) == {"style", "must", "must not"}
        assert met["must"] == ("gold" in words(row["refined"]))
    assert all(wish["met"] for wish in rows[0]["satisfaction"])


def test_prompts_in_other_scripts_and_without_words(brushup: Brushup, refiners: Path) -> None:
    prompts = ["海辺の赤い船。", " . ", "un bateau rouge à la mer"]
    done = brushup("refine", *prompts, "--refiner", "np", "--home", refiners, "--json")
    assert done.code == 2
    first, second, third = done.json
    assert first["refined"].startswith("海辺の赤い船")
    assert (second["refined"], third["error"]) == (None, "")
    assert "empty" in second["error"]
    assert third["refined"].startswith("un bateau rouge à la mer")
    done = brushup("refine", prompts[0], "--refiner", "bp", "--home", refiners, "--json")
    assert "lacks characters" in done.json[0]["error"]
    assert "change the prompt" in done.err
    brushup("refine", " ", "--refiner", "np", "--home", refiners).refused("a prompt is empty")


def test_a_pipe(brushup: Brushup, refiners: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a red boat\n\nthe sea\na red boat\n"))
    done = brushup("refine", "--refiner", "np", "--home", refiners, "-o", "-")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["naive"] for row in rows] == ["a red boat", "the sea", "a red boat"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    brushup("refine", "--refiner", "np", "--home", refiners).refused("no prompt is given", "--file")


def test_the_commands_of_the_page_run_as_printed(
    brushup: Brushup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a red boat\nthe sea\n")
    Path("prompts.csv").write_text("prompt\na red boat\n")
    lines = re.findall(r"^    (cat \S+ \| )?brushup (refine .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 4
    for piped, told in lines:
        monkeypatch.setattr("sys.stdin", io.StringIO(Path(piped.split()[1]).read_text() if piped else ""))
        done = brushup(*shlex.split(told))
        assert done.code == 0, (told, done)
    assert Path("refined.jsonl").is_file()
    assert Path("runs/refined/contact_sheet.png").is_file()


def test_a_column_of_a_table(brushup: Brushup, refiners: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("number,what I want\n1,a red boat\n2,the sea\n")
    command = ["refine", "--file", table, "--refiner", "np", "--home", refiners]
    brushup(*command).refused("what I want", "by --column")
    rows = brushup(*command, "--column", "what I want", "--json").json
    assert [row["naive"] for row in rows] == ["a red boat", "the sea"]


def test_a_killed_batch_goes_on_where_it_stopped(
    brushup: Brushup, refiners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments.answers, "BATCH", 3)
    prompts, out = tmp_path / "prompts.txt", tmp_path / "out.jsonl"
    texts = [f"a {colour} {thing}" for colour in ("red", "blue", "green") for thing in ("boat", "house", "sea")]
    prompts.write_text("\n".join(texts))
    command = ["refine", "--file", prompts, "--refiner", "pv", "--n", 2, "--seed", 3, "--home", refiners, "-o", out]
    assert brushup(*command).code == 0
    whole = out.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert list(dict.fromkeys(row["naive"] for row in rows)) == texts
    lines = whole.splitlines(keepends=True)
    second = next(k for k, row in enumerate(rows) if row["place"] == 4)
    for cut in (b"", b"".join(lines[: second + 1]), b"".join(lines[:second]) + lines[second][:20], whole):
        out.write_bytes(cut)
        asked: list[str] = []
        real = experiments.answers._variants
        monkeypatch.setattr(
            experiments.answers, "_variants", lambda r, p, n, s, real=real, log=asked: log.extend(p) or real(r, p, n, s)
        )
        assert brushup(*command).code == 0
        assert out.read_bytes() == whole
        assert asked == texts[len(texts) - len(asked) :]
        assert len(asked) < len(texts) or not cut
        monkeypatch.setattr(experiments.answers, "_variants", real)
    assert asked == []
    brushup(*command, "--seed", 4).refused("holds something other", "--output")
    prompts.write_text("the sky")
    brushup(*command).refused("holds something other")
    assert out.read_bytes() == whole


def test_pictures_side_by_side(
    brushup: Brushup, refiners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Plain()
    monkeypatch.setattr(rendering, "load_renderer", lambda source: fake)
    command = ["refine", "a red boat", "the sea", "--refiner", "np", "--home", refiners, "--render", "--pictures"]
    done = brushup(*command, tmp_path / "p")
    assert done.code == 0, done
    names = {file.name for file in (tmp_path / "p").iterdir()}
    assert names == {f"000{k}-0-{which}.png" for k in (1, 2) for which in ("naive", "refined")} | {"contact_sheet.png"}
    seeds: dict[str, set[int]] = {}
    for request in fake.drawn:
        seeds.setdefault(request.prompt.split(",")[0], set()).add(request.seed)
    assert {name: len(found) for name, found in seeds.items()} == {"a red boat": 1, "the sea": 1}
    drawn = len(fake.drawn)
    brushup(*command, tmp_path / "again")
    assert len(fake.drawn) == drawn, "pictures come from the cache"


def test_what_cannot_be_asked_is_one_line(
    brushup: Brushup, refiners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--home", refiners]
    with monkeypatch.context() as patch:
        patch.setitem(REFINERS, "phrases", toy_refiner.load)
        brushup("refine", "a cat", "--refiner", "toy", "--must", "gold", *at).refused("cannot honour", "--must")
    brushup("refine", "a cat", "--refiner", "np", "--want", "mood=calm", *at).refused("'mood=calm'", "CATEGORY=TERM")
    brushup("refine", "a cat", "--refiner", "np", "--run", "one", *at).refused("both --run one and --refiner are given")
    brushup("refine", "a cat", "--run", "one", "--must", "gold", *at).refused(
        "both --run one and --must", "trained refiner"
    )
    brushup("refine", "a cat", "--refiner", "np", "--llm", "m", *at).refused("--llm", "without --run")
    brushup("refine", "a cat", "--api-base", "http://localhost", *at).refused("--api-base", "without --run")
    brushup("refine", "a cat", "--pictures", tmp_path, *at).refused("--pictures", "without --render")
    brushup("refine", "a cat", "--renderer", "x/y", *at).refused("--renderer", "without --render")
    brushup("refine", "a cat", "--column", "b", *at).refused("--column", "without --file")
    brushup("refine", "a cat", "--refiner", "np", "-o", "-", "--json", *at).refused("both --json and -o -")
    brushup("refine", "a cat", "--refiner", "np", "--file", tmp_path / "x.txt", *at).refused("give one of them")
    brushup("refine", "a cat", "--refiner", "np", "--must", "gold", "--must-not", "gold", *at).refused("--must-not")
    notes = tmp_path / "notes.txt"
    notes.write_text("my precious notes")
    brushup("refine", "a cat", "--refiner", "np", "-o", notes, *at).refused("holds something other", "--output")
    assert notes.read_text() == "my precious notes"
    brushup("refine", "a cat", "--refiner", "nosuch", *at).refused("'nosuch'", "bp, np, pv, toy", "prip")
    brushup("refine", "a cat", "--refiner", "/no/such", *at, "--render").refused("neither a folder nor a repository")


def test_without_a_name_a_shipped_refiner_answers(
    brushup: Brushup, refiners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments.answers.miniworld, "REFINERS", tmp_path)
    (tmp_path / "prip").symlink_to(refiners / "refiners/pv")
    done = brushup("refine", "the sea", "--home", tmp_path)
    assert done.out.startswith("the sea")
    assert LABEL in done.err
    wished = brushup("refine", "the sea", "--must", "gold", "--home", tmp_path, "--json").json
    assert [wish["label"] for wish in wished[0]["satisfaction"]] == ["must"]
    named = brushup("refine", "the sea", "--refiner", "prip", "--home", tmp_path, "--json").json
    assert named[0]["request"] != wished[0]["request"]


@pytest.mark.parametrize("name", ["prip", "neuroprompts", "distilled"])
def test_shipped_refiners_answer_at_once_and_say_what_they_know(brushup: Brushup, tmp_path: Path, name: str) -> None:
    prompts = ["a red boat by the sea, painting", "赤い船"]
    rows = brushup("refine", *prompts, "--refiner", name, "--home", tmp_path, "--json").json
    assert [row["error"] for row in rows] == [""] * 2
    for row, prompt in zip(rows, prompts, strict=True):
        assert row["refined"].startswith(f"{prompt}, ")
        assert "trained on the miniworld" in row["refiner"]
    assert {"canvas texture", "warm palette", "visible brushstrokes"} & set(rows[0]["refined"].split(", "))
    assert not any(tmp_path.rglob("*.png"))

"""`brushup evaluate` on models that take microseconds: rows, prompts, parts, kills, caps, the benchmark."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import experiments.suites.bench
import refiner
from core.errors import BadInput, BudgetReached
from core.progress import Silent
from core.records import Refinement, RenderRequest
from experiments.answers import find_refiner
from experiments.folder import alone_in
from experiments.suites import labels
from experiments.suites.ablation import PARTS, effects
from experiments.suites.bench import Order, picture_seed
from experiments.suites.cases import miniworld_cases, professional_prompts
from experiments.suites.config import SUITES, SuiteConfig, load_suite, with_flags
from experiments.suites.labels import reward_models
from experiments.suites.rows import commands_to_train, make_rows
from experiments.suites.run import STYLES, run_suite
from experiments.suites.table import Case, Outcome, Values
from experiments.suites.world import levels_of, style_of
from experiments.training.config import load_training
from miniworld import CORPUS, PROMPTS, REFINERS
from miniworld.grammar import parse, split_of
from prompt_db.caps import Caps
from refiner.folder import Manifest, writing
from tests.experiments.test_train import Colour, Plain
from tests.refiner import toy_refiner

pytestmark = pytest.mark.slow
SMALL = {"per_group": 3, "seeds": 2, "chunk": 4}


def suite(name: str = "table", **changes: Any) -> SuiteConfig:
    return replace(load_suite(name), **{**SMALL, **changes})


def write_toy(folder: Path, *phrases: str) -> None:
    with writing(folder, Manifest("phrases", "phrases", "CC0", settings={"phrases": list(phrases)})):
        pass


class Failing(toy_refiner.Phrases):
    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:
        found = await super().refine(prompts, seed=seed)
        return [replace(one, text="", error="lost") if "photo" in one.naive else one for one in found]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Plain:
    """A renderer; two scorers; the kind `phrases`."""
    renderer = Plain()

    def load(config: SuiteConfig) -> Any:
        renderer.revision, renderer.name = config.renderer, config.renderer
        return renderer, [Colour("red"), Colour("green-aesthetic")]

    monkeypatch.setattr(experiments.suites.bench, "load_models", load)
    monkeypatch.setitem(refiner.REFINERS, "phrases", toy_refiner.load)
    monkeypatch.setitem(refiner.REFINERS, "failing", lambda folder: Failing(refiner.read_manifest(folder)))
    return renderer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_toy(tmp_path / "refiners/prip", "sharp focus", "8k")
    return tmp_path


def go(home: Path, config: SuiteConfig, *rows: str, name: str = "table", **order: Any) -> dict[str, Any]:
    return run_suite(home, config, Order("table", name, rows, **order), Silent())


def test_a_table(home: Path, world: Plain) -> None:
    found = go(home, suite(), "zero-shot", "initial", "professional", "prip")
    assert list(found["rows"]) == ["naive", "zero-shot", "initial", "professional-naive", "professional", "prip"]
    assert (found["optimised"], found["prompts"], found["seeds"]) == ("red", 12, 2)
    for row in found["rows"].values():
        assert list(row["scores"]) == ["red", "green-aesthetic", "judge", "truth"]
        assert {"mean", "delta", "ci95", "p", "win", "tie"} <= set(row["scores"]["red"])
        assert 0 <= row["relevance"] <= 2
    rows = found["rows"]
    assert rows["initial"]["llm_calls_per_prompt"] == 1
    assert rows["initial"]["tokens_per_prompt"] > 50
    assert (rows["prip"]["llm_calls_per_prompt"], rows["prip"]["tokens_per_prompt"]) == (0, 0)
    assert rows["prip"]["label"] == "phrases"
    assert rows["prip"]["seconds_per_prompt"] > 0
    assert rows["zero-shot"]["scores"]["red"]["delta"] == 0, "the offline agents do only what they are told"
    assert rows["professional"]["against"] == "professional-naive"
    assert set(found["pairs"]["rows"]) == {"naive", "zero-shot", "initial"}
    folder = home / "evaluations/table"
    assert json.loads((folder / "table.json").read_text()) == found
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(lines) == 6 * 12
    assert {line["refined"].endswith("sharp focus, 8k") for line in lines if line["row"] == "prip"} == {True}
    assert (folder / "sheets/prip.png").is_file()
    assert found["ledger"]["llm"] == 24


def test_a_folder_is_of_one_evaluation(home: Path, world: Plain) -> None:
    go(home, suite(), "prip", caps=Caps(max_renders=60))
    before = (home / "evaluations/table/table.json").read_bytes()
    with pytest.raises(BadInput, match=r"table holds another evaluation .* give another --name"):
        go(home, suite(seeds=1), "prip")
    assert (home / "evaluations/table/table.json").read_bytes() == before
    with alone_in(home / "evaluations/table", ""), pytest.raises(BadInput, match=r"by another process.*another --name"):
        go(home, suite(), "prip")
    go(home, suite(), "prip")


def test_a_changed_file_of_prompts_is_another_evaluation(home: Path, world: Plain) -> None:
    file = home / "mine.txt"
    file.write_text("a red boat\n")
    found = go(home, suite(), "prip", prompts=file)
    score = found["rows"]["prip"]["scores"]["red"]
    assert (score["n"], score["ci95"]) == (1, None), "one prompt says nothing about spread"
    file.write_text("a blue boat\n")
    with pytest.raises(BadInput, match="holds another evaluation"):
        go(home, suite(), "prip", prompts=file)


def test_every_row_sees_the_same_seeds(home: Path, world: Plain) -> None:
    config = suite()
    go(home, config, "prip")
    seeds: dict[str, set[int]] = {}
    for request in world.drawn:
        seeds.setdefault(request.prompt.removesuffix(", sharp focus, 8k"), set()).add(request.seed)
    for prompt, found in seeds.items():
        assert found == {picture_seed(config.seed, prompt, k) for k in range(2)}


def test_a_killed_evaluation_goes_on(home: Path, world: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ("initial", "prip")
    expected = go(home / "whole", suite(), "initial")
    whole = len(world.drawn)
    world.drawn.clear()
    real = world.render

    def killed(requests: Sequence[RenderRequest]) -> Any:
        if len(world.drawn) >= 30:
            raise KeyboardInterrupt
        return real(requests)

    monkeypatch.setattr(world, "render", killed)
    with pytest.raises(KeyboardInterrupt):
        go(home, suite(), *rows[:1])
    monkeypatch.setattr(world, "render", real)
    found = go(home, suite(), *rows[:1])
    assert len(world.drawn) == whole, "nothing is drawn twice"
    drop = ("seconds_per_prompt",)
    assert [{key: value for key, value in row.items() if key not in drop} for row in found["rows"].values()] == [
        {key: value for key, value in row.items() if key not in drop} for row in expected["rows"].values()
    ]
    calls = json.loads((home / "evaluations/table/table.json").read_text())["ledger"]["llm"]
    again = run_suite(home, suite(), Order("table", "again", ("initial",)), Silent())
    assert (calls, again["ledger"]["llm"]) == (12, 0), "answers are kept"
    assert again["rows"]["initial"]["tokens_per_prompt"] == found["rows"]["initial"]["tokens_per_prompt"]
    assert len(world.drawn) == whole


def test_a_cap_is_not_overshot_and_a_higher_one_goes_on(home: Path, world: Plain) -> None:
    with pytest.raises(BudgetReached, match="--max-renders"):
        go(home, suite(), "prip", caps=Caps(max_renders=30))
    assert len(world.drawn) <= 30
    go(home, suite(), "prip", caps=Caps(max_renders=48))
    assert len(world.drawn) == 48


def test_what_is_missing_is_named_with_its_command(home: Path, world: Plain) -> None:
    config = suite(rows={name: load_suite("table").rows[name] for name in ("prip", "promptist", "optimised")})
    found = go(home, config)
    assert list(found["rows"]) == ["naive", "prip"]
    assert {lack["name"]: lack["command"].split(" --home")[0] for lack in found["missing"]} == {
        "promptist": "brushup train promptist",
        "optimised": "brushup optimize --run NAME",
    }
    for name in ("promptist", "optimised"):
        with pytest.raises(BadInput, match=f"--rows {name}.*brushup"):
            go(home, config, name)


def test_a_users_own_refiner_and_failures(home: Path, world: Plain) -> None:
    with writing(home / "refiners/mine", Manifest("failing", "mine", "CC0", settings={"phrases": ["8k"]})):
        pass
    row = go(home, suite(), "mine")["rows"]["mine"]
    assert (row["failed"], row["errors"]) == (3, {"lost": 3})
    assert row["scores"]["red"]["n"] == 9
    write_toy(home / "elsewhere", "blurry")
    assert str(home / "elsewhere") in go(home, suite(), str(home / "elsewhere"), name="other")["rows"]


def test_prompts_of_a_file_have_no_truth_unless_they_are_the_miniworlds(home: Path, world: Plain) -> None:
    file = home / "mine.txt"
    file.write_text("a monkey as a DJ\na bowl of soup\n")
    found = go(home, suite(), "prip", prompts=file)
    assert list(found["rows"]["prip"]["scores"]) == ["red", "green-aesthetic"]
    assert found["rows"]["prip"]["relevance"] is None
    assert (found["split"], found["prompts"]) == ("file", 2)


def test_a_row_that_breaks_is_left_out_and_named(home: Path, world: Plain) -> None:
    (home / "refiners/promptist").mkdir(parents=True)
    (home / "refiners/promptist/refiner.json").write_text("{}")
    config = suite(rows={name: load_suite("table").rows[name] for name in ("promptist", "prip")})
    found = go(home, config)
    assert list(found["rows"]) == ["naive", "prip"]
    assert [row["row"] for row in found["failed"]] == ["promptist"]
    world.drawn.clear()
    with pytest.raises(BadInput, match=r"refiner\.json"):
        go(home / "new", suite(), "zero-shot", str(home / "refiners/promptist"))
    assert not world.drawn, "found before anything is drawn"


def test_fresh_prompts_were_never_seen() -> None:
    cases = miniworld_cases(50, 20261)
    assert {case.group: sum(other.group == case.group for other in cases) for case in cases} == dict.fromkeys(
        STYLES, 50
    )
    assert len({case.prompt for case in cases}) == 200
    shipped = "".join((PROMPTS / f"{split}.jsonl").read_text() for split in ("train", "validation"))
    firsts = {line.partition(",")[0] for line in CORPUS.read_text().splitlines()}
    for case in cases:
        scene = parse(case.prompt)
        assert scene is not None
        assert split_of(scene.triple) == "test"
        assert f'"{case.prompt}"' not in shipped
        assert case.prompt not in firsts
        assert case.prompt.partition(",")[0] not in firsts
    assert cases == miniworld_cases(50, 20261)
    assert cases != miniworld_cases(50, 1)
    seen = {cases[0].prompt, cases[7].prompt}
    assert not seen & {case.prompt for case in miniworld_cases(50, 20261, seen=seen)}
    with pytest.raises(BadInput, match="--per-group"):
        miniworld_cases(5000, 0)
    with pytest.raises(BadInput, match="--split"):
        miniworld_cases(5, 0, split="train")


def test_validation_prompts_are_the_shipped_ones() -> None:
    shipped = {json.loads(line)["prompt"] for line in (PROMPTS / "validation.jsonl").read_text().splitlines()}
    assert {case.prompt for case in miniworld_cases(100, 0, split="validation")} == shipped


def test_professional_prompts_say_the_whole_scene_before_the_first_comma() -> None:
    found = professional_prompts(20, 0)
    assert len(found) == 80
    for case, text in found.items():
        assert text.startswith(f"{case.prompt},")
        naive, whole = parse(case.prompt), parse(text)
        assert naive is not None
        assert whole is not None
        assert (naive.triple, naive.family) == (whole.triple, whole.family)
        assert naive.family == case.group


@pytest.mark.parametrize("name", SUITES)
def test_shipped_suites(name: str, tmp_path: Path) -> None:
    config = load_suite(name)
    make_rows(config, tmp_path, None)
    assert set(config.parts) <= set(PARTS)
    for command in commands_to_train(tmp_path, config, "mine"):
        program, verb, kind, *words = shlex.split(command)
        assert program == "brushup"
        if verb == "train":
            settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
            load_training(kind, "paper" if "paper" in words else None, settings)
        assert str(tmp_path) in words
    wanted = {
        word for parts in config.settings.values() for word in str(parts.get("refiners", "")).split("'") if "-" in word
    }
    assert wanted <= set(config.rows)


def test_a_row_that_the_suite_trains_is_never_a_shipped_refiner(tmp_path: Path) -> None:
    rows, missing = make_rows(load_suite("table"), tmp_path, None)
    ready = {row.name for row in rows}
    assert {"shipped-prip", "shipped-neuroprompts", "shipped-distilled"} <= ready
    assert {"prip", "neuroprompts"} <= {lack.name for lack in missing}
    assert not {"prip", "neuroprompts"} & ready
    write_toy(tmp_path / "refiners/prip", "8k")
    rows, missing = make_rows(load_suite("table"), tmp_path, None)
    assert "prip" in {row.name for row in rows} - {lack.name for lack in missing}
    assert find_refiner(tmp_path, "prip") == str(tmp_path / "refiners/prip")
    assert find_refiner(tmp_path, "shipped/prip") == str(REFINERS / "prip")


def test_one_file_builds_on_another() -> None:
    table, transfer = load_suite("table"), load_suite("transfer")
    assert transfer.rows == table.rows
    assert (table.renderer, transfer.renderer) == ("miniworld", "miniworld:second")
    assert with_flags(table, {"seeds": 2, "scorers": ()}) == replace(table, seeds=2)


def test_a_file_of_ones_own_builds_on_a_suite(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('base = "table.toml"\nseeds = 1')
    assert load_suite("table", tmp_path / "own.toml") == replace(load_suite("table"), seeds=1)
    (tmp_path / "own.toml").write_text('base = "nosuch.toml"')
    with pytest.raises(BadInput, match=r"base is 'nosuch.toml'; expected a file beside it, or one of table"):
        load_suite("table", tmp_path / "own.toml")


def test_what_some_rows_lack(tmp_path: Path) -> None:
    [command] = commands_to_train(tmp_path, load_suite("table"), None, ["promptist"])
    assert command.startswith("brushup train promptist")
    with pytest.raises(BadInput, match="--rows nosuch: got neither a row nor a refiner; expected some of naive"):
        make_rows(load_suite("table"), tmp_path, None, ["nosuch"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("colour = 1", "colour"),
        ("seeds = 0", "seeds"),
        ("[rows.a]\nagent = 'x'\nrefiner = 'y'", "several of agent"),
        ("[rows.a]\nwant = ['colour']", "colour"),
        ("[rows.a]\nwho = 'x'", "who"),
    ],
)
def test_what_a_suite_file_cannot_say(tmp_path: Path, text: str, parts: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(BadInput, match=parts) as error:
        load_suite("table", tmp_path / "own.toml")
    assert "\n" not in str(error.value)


def test_the_benchmark(home: Path, world: Plain) -> None:
    for place, style in enumerate(STYLES):
        (home / f"{style}.json").write_text(json.dumps([f"{style} {k}" for k in range(place + 2)]))
    order = Order("hpsv2", "hpsv2", ("prip",), prompts=home, renderers=("one", "org/two"))
    found = run_suite(home, suite("hpsv2", per_group=4), order, Silent())
    assert list(found["renderers"]) == ["one", "org/two"]
    styles = found["styles"]["org/two"]["prip"]
    assert [styles[style]["n"] for style in STYLES] == [2, 3, 4, 4]
    assert styles["average"] == pytest.approx(sum(styles[style]["mean"] for style in STYLES) / 4)
    assert found["rows"] == found["renderers"]["one"]["rows"]
    assert len(world.drawn) == 2 * (2 * 13 * 2), "each renderer draws its own"
    assert (home / "evaluations/hpsv2/org-two/rows.jsonl").is_file()
    with pytest.raises(BadInput, match=r"anime\.json"):
        run_suite(home, suite("hpsv2"), Order("hpsv2", "hpsv2", ("prip",)), Silent())
    with pytest.raises(BadInput, match="several are for"):
        go(home, suite(), "prip", renderers=("a", "b"))
    with pytest.raises(BadInput, match="--name"):
        run_suite(home, suite(), Order("table", "../up"), Silent())


# --- the parts of the ablation


def test_effects_of_a_full_factorial() -> None:
    """Gains made of known effects: a 1, b -2, both 0.5 more, c nothing; a prompt's own level does not matter."""
    names = ["a", "b", "c"]
    gains = {}
    for bits in range(8):
        on = frozenset(name for place, name in enumerate(names) if bits >> place & 1)
        gain = ("a" in on) - 2 * ("b" in on) + 0.5 * ({"a", "b"} <= on)
        gains[on] = {"p": 5 + gain, "q": gain, **({"lost": 1.0} if not on else {})}
    found = effects(names, gains)
    expected = {"a": 1.25, "b": -1.75, "c": 0, "a x b": 0.5, "a x c": 0, "b x c": 0}
    assert {name: row["effect"] for name, row in found.items()} == pytest.approx(expected)


def test_levels_of_detail() -> None:
    levels = levels_of("a red boat by the sea, photo", ["8k", "elegant", "sharp focus"])
    assert list(levels.values())[:5] == [
        "boat", "red boat", "red boat by the sea", "a red boat by the sea, photo", "a red boat by the sea, photo, 8k",
    ]  # fmt: skip


def test_the_parts_of_the_ablation(home: Path, world: Plain) -> None:
    rows = {name: load_suite("ablation").rows[name] for name in ("naive", "professional", "prip")}
    for name in ("blind", "neuroprompts-sft"):
        write_toy(home / f"refiners/{name}", "8k")
    settings = {
        "detail": {"refiners": ["neuroprompts-sft"], "per_group": 2, "phrases": ["oil"] * 6},
        "unseen": {"subjects": ["castle"], "families": ["anime"], "pairs": [["blind", "prip"], ["no", "prip"]]},
        "judges": {"row": "professional", "refiner": ""},
        "constraints": {"refiner": "neuroprompts-sft", "per_group": 1},
    }
    config = suite(
        rows={**rows, "blind": replace(rows["prip"], refiner="blind")}, settings=settings, parts=tuple(PARTS)
    )
    parts = go(home, config)["parts"]
    assert "cannot honour" in parts["constraints"]["missing"], "phrases takes no wishes"
    levels = parts["detail"]["refiners"]["neuroprompts-sft"]["levels"]
    assert levels["subject"]["input_words"] == 1
    assert {level["added_words"] for level in levels.values()} == {1.0}
    assert parts["detail"]["refiners"]["neuroprompts-sft"]["added_words_per_input_word"] == pytest.approx(0, abs=1e-9)
    assert parts["unseen"]["prompts"]["unseen family"] == 3
    unseen = parts["unseen"]["refiners"]["blind"]
    assert set(unseen) == {"against_naive", "against_prip", "kept"}
    assert unseen["kept"]["seen"] == 1
    assert set(parts["judges"]["texts"]) == {"red", "green-aesthetic"}
    assert parts["judges"]["pictures"]["red"]["pairs"] == 12 * 6


def test_reward_models_against_the_annotator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def one(name: str, truth: list[Values], right: list[Values], wrong: list[Values]) -> Outcome:
        cases = [Case("a"), Case("b")]
        return Outcome(name, "naive", "", cases, [f"{c.prompt}, x" for c in cases], ["", ""],
                       {"judge": truth, "truth": truth, "right": right, "wrong": wrong})  # fmt: skip

    better = one("pro", [(2.0, 3.0), (4.0, None)], [(20.0, 30.0), (40.0, None)], [(0.0, -1.0), (-2.0, None)])
    naive = one("naive", [(0.0, 1.0), (1.0, 2.0)], [(0.0, 10.0), (10.0, 20.0)], [(2.0, 1.0), (1.0, 0.0)])
    monkeypatch.setattr(labels, "_readers", lambda refiner: {"length": lambda prompts, texts: [len(t) for t in texts]})
    found = reward_models(better, naive, "r", "truth")
    assert set(found["pictures"]) == {"right", "wrong"}
    assert (found["pictures"]["right"]["pairs"], found["pictures"]["right"]["accuracy"]) == (6 + 3, 1.0)
    assert found["pictures"]["wrong"]["accuracy"] == 0.0
    assert found["pictures"]["right"]["agreement"] == pytest.approx(found["pictures"]["right"]["ceiling"])
    assert found["pictures"]["wrong"]["agreement"] == pytest.approx(1 - found["pictures"]["right"]["ceiling"])
    assert found["texts"]["text:length"]["accuracy"] == 1.0


def test_style_of_a_prompt() -> None:
    assert style_of("a red boat by the sea, photo") == "photo"
    assert style_of("a monkey as a DJ") == ""

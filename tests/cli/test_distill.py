"""`brushup distill` and `optimize --distill`: only train blocks are learned from, and too few are refused."""

import json
from pathlib import Path

import pytest

import experiments.distill
from core.records import NAIVE
from experiments.distill import KEPT, Lessons, in_one_form, kind_of, lessons
from experiments.folder import RunFolder
from experiments.member import member
from experiments.training.config import TrainingConfig
from prompt_db.prompt_pairs import PromptPair
from prompt_db.run_store import RunStore
from refiner import load_refiner, read_manifest
from refiner.prip.data import PromptPicture
from tests.cli.conftest import Brushup, write_toml
from tests.experiments.test_train import PIVOT, TINY

pytestmark = pytest.mark.slow
SFT = [f"model.lm.shape={str(TINY).replace(':', '=')}", "model.sft.max_steps=2", "model.sft.batch_size=4"]


def flags(settings: object) -> list[object]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments.distill, "FEWEST", 4)


def test_lessons_are_of_train_blocks_that_beat_naive(warm: Path) -> None:
    one = member(RunFolder(warm, "one"))
    found = lessons(one)
    texts = {split: {p.text for p in one.evidence.prompts.values() if p.split == split} for split in ("train", "test")}
    assert found.pairs
    assert {pair.low for pair in found.pairs} <= texts["train"]
    assert {picture.prompt for picture in found.preferred} <= texts["train"] - texts["test"]
    gains: dict[tuple[str, str], list[float]] = {}
    store = RunStore.reader(warm / "one/run.db")
    scores = store.raw_scores(one.details.scorer, "train")
    for (arm, block), drawn in one.evidence.drawn.items():
        if arm != NAIVE and block in scores.get(arm, {}):
            naive = one.evidence.prompts[one.evidence.blocks[block].prompt_id].text
            gains.setdefault((naive, drawn["prompt"]), []).append(scores[arm][block] - scores[NAIVE][block])
    store.close()
    for pair in found.pairs:
        assert sum(gains[pair.low, pair.high]) > 0
    for naive in texts["train"]:
        assert sum(pair.low == naive for pair in found.pairs) <= KEPT
    assert all(picture.path.is_file() for picture in (*found.preferred, *found.system))


def test_what_another_run_holds_out_is_not_learned(warm: Path) -> None:
    one = member(RunFolder(warm, "one"))
    free = lessons(one)
    hidden = {free.pairs[0].low}
    found = lessons(one, hidden)
    assert found.pairs == tuple(pair for pair in free.pairs if pair.low not in hidden)
    assert not hidden & {picture.prompt for picture in found.preferred}
    assert not {p.prompt for p in found.system} - {p.prompt for p in free.system}
    assert found.dropped["held out by another run"] > 0


def test_of_several_runs_a_prompt_has_the_picture_of_the_first() -> None:
    first = Lessons(preferred=(PromptPicture("boat", Path("a.png")),))
    second = Lessons(preferred=(PromptPicture("boat", Path("b.png")), PromptPicture("cat", Path("c.png"))))
    found = {one.prompt: one.path.name for one in (first + second).preferred}
    assert found == {"boat": "a.png", "cat": "c.png"}


def test_pairs_have_one_form() -> None:
    on, anew = PromptPair("a cat.", "a cat, oil"), PromptPair("a cat", "oil of a cat")
    other = PromptPair("a cat", "a cats, oil")
    found = in_one_form(Lessons((on, on, anew, other), dropped={"x": 1}))
    assert found.pairs == (on, on)
    assert found.dropped == {"x": 1, "not going on from the naive prompt": 2}
    assert kind_of("sft", found) == "neuroprompts"
    mixed = in_one_form(Lessons((on, anew, other)))
    assert mixed.pairs == (on, anew, other)
    assert (kind_of("sft", mixed), kind_of("prip", mixed)) == ("promptist", "prip")


def test_a_model_that_rewrites_keeps_the_rule_of_its_runs(
    brushup: Brushup, warm: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments.distill, "goes_on", lambda pair: False)
    done = brushup("distill", "one", "--home", warm, "--json", "--quiet", *flags(SFT))
    assert done.code == 0, done
    settings = read_manifest(Path(done.json["refiner"])).settings
    assert (settings["style"], settings["min_kept"], settings["search"]) == ("promptist", 1.0, None)
    used = brushup("refine", "a red castle", "--refiner", "one-sft", "--home", warm, "--json").json
    assert "keeps 100%" in used[0]["error"] or "castle" in used[0]["refined"]


def test_pictures_that_are_gone_are_counted_and_not_learned(home: Path) -> None:
    found = lessons(member(RunFolder(home, "one")))
    assert found.pairs, "texts need no picture"
    assert found.preferred == found.system == ()
    assert found.dropped["without their picture"] > 0
    assert "without their picture" in str(found)


def test_a_language_model_from_a_run(brushup: Brushup, warm: Path, few: None) -> None:
    done = brushup("distill", "one", "--home", warm, "--json", "--quiet", *flags(SFT))
    assert done.code == 0, done
    folder = Path(done.json["refiner"])
    assert folder == warm / "refiners/one-sft"
    manifest = read_manifest(folder)
    assert list(manifest.training) == ["corpus", "sft"]
    assert manifest.data["runs"] == ["one"]
    found = in_one_form(lessons(member(RunFolder(warm, "one"))))
    assert manifest.data["sft pairs"] + manifest.data["sft pairs held out"] == len(found.pairs)
    assert manifest.settings["style"] == kind_of("sft", found)
    assert "distilled from one" in manifest.label
    assert "miniworld" not in manifest.label, "the stub world is another one"
    assert load_refiner(folder)
    again = brushup("distill", "one", "--home", warm, *flags(SFT))
    assert "is trained already" in again.err
    assert "use it: brushup refine" in again.err


def test_a_pivot_refiner_from_a_run(brushup: Brushup, warm: Path, few: None) -> None:
    settings = [setting for setting in PIVOT if not setting.startswith("model.ppo")]
    command = ["distill", "one", "--refiner", "prip", "--home", warm, "--json", "--quiet", *flags(settings)]
    done = brushup(*command)
    assert done.code == 0, done
    manifest = read_manifest(Path(done.json["refiner"]))
    assert list(manifest.training) == ["language", "e", "d"]
    assert manifest.kind == "prip"


def test_too_little_is_refused_with_advice(brushup: Brushup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments.distill, "FEWEST", 10_000)
    brushup("distill", "one", "--home", home).refused("expected at least 10000", "more rounds")
    monkeypatch.setattr(experiments.distill, "FEWEST", 1)
    brushup("distill", "one", "--refiner", "prip", "--home", home).refused("without their picture", "expected at least")
    brushup("distill", "one", "--refiner", "gpt", "--home", home).refused("expected one of sft, prip")
    brushup("distill", "two", "--home", home).refused("no run 'two'")
    assert not (home / "refiners").exists()


def test_optimize_distils_at_its_end(
    brushup: Brushup, models: object, tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.training import config as training

    def small(refiner: str, source: str | None, settings: object) -> TrainingConfig:
        return real(refiner, source, SFT)

    real = training.load_training
    monkeypatch.setattr(training, "load_training", small)
    toml = write_toml(tmp_path)
    done = brushup("optimize", toml, "--run", "d", "--home", tmp_path / "runs", "--distill", "--quiet", "--json")
    assert done.code == 0, done.err
    assert done.json["distilled"]["refiner"] == str(tmp_path / "runs/refiners/d-sft")
    assert "distilled" not in json.loads((tmp_path / "runs/d/summary.json").read_text())
    monkeypatch.setattr(experiments.distill, "FEWEST", 10_000)
    done = brushup("optimize", toml, "--run", "e", "--home", tmp_path / "runs", "--distill", "--quiet")
    assert done.code == 0
    assert "not distilled: run e: got" in done.err
    assert (tmp_path / "runs/e/summary.json").is_file()

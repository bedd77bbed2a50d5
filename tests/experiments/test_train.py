"""`brushup train`: every recipe end to end on tiny models; killed and resumed; configurations; what is read."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import experiments.training.language
import experiments.training.workshop
from core.errors import BadInput, BudgetReached, Interrupted
from core.progress import Silent
from core.records import RenderRequest, Score, ScoreItem
from core.seeding import generator
from core.text import digest
from experiments.training.config import FOLDER, KINDS, PAPER, load_training
from experiments.training.data import Reader, file_contents, held_out
from experiments.training.run import make, train
from experiments.training.workshop import Workshop, plain
from miniworld import CATEGORIES
from miniworld.datasets.pairs import write_pairs
from prompt_db.caps import Caps
from refiner import load_refiner, read_manifest
from refiner.rewards import Episodes
from refiner.text_reward import load_text_rewards, text_rewards
from tests.fakes import FakeRenderer
from tests.processes import run_two

pytestmark = pytest.mark.slow
TINY = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 192}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
BOTH = (
    "model.ppo.steps=2", "model.ppo.batch_size=4", "model.ppo.max_new_tokens=6", "model.ppo.checkpoint_every=1",
    "model.ppo.num_mini_batches=1", "model.ppo.rloo_k=2", "data.user_prompts=0", "data.tries=0",
)  # fmt: skip
LANGUAGE = (
    *BOTH, f"model.lm.shape={str(TINY).replace(':', '=')}", "model.sft.max_steps=2", "model.sft.batch_size=4",
    "data.count=40", "data.most=40", "data.holdout=4",
)  # fmt: skip
PIVOT = (
    *BOTH, f"model.decoder.lm.shape={str(TINY).replace(':', '=')}", f"model.encoder.shape={str(T5).replace(':', '=')}",
    "model.user_pivot.max_steps=2", "model.pivot_system.max_steps=2", "data.holdout=2", "data.most=40",
)  # fmt: skip


class Plain(FakeRenderer):
    def _draw(self, request: RenderRequest) -> Image.Image:
        red, green, blue = generator(request.prompt, request.seed).integers(256, size=3).tolist()
        return Image.new("RGB", (8, 8), (red, green, blue))


@dataclass
class Colour:
    """Scores one channel of the first pixel; beauty does not look at the prompt."""

    name: str = "red"
    revision: str = "1"
    chunk: int = 8
    items: int = 0

    def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        self.items += len(items)
        channel = ("red", "green", "blue").index(self.name.split("-")[0])
        return [Score(item.image.getpixel((0, 0))[channel] / 255) for item in items]


@dataclass
class World:
    renderer: Plain = field(default_factory=Plain)
    scorers: tuple[Colour, ...] = field(default_factory=lambda: (Colour("red"), Colour("green-aesthetic")))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(experiments.training.workshop, "load_models", lambda config: (found.renderer, found.scorers))
    monkeypatch.setattr(experiments.training.workshop, "load_scorer", lambda name: Colour())
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three pictures each of ten prompts, as DiffusionDB's parts."""
    part = tmp_path / "log" / "part-000001"
    part.mkdir(parents=True)
    entries = {}
    for k in range(30):
        Image.new("RGB", (64, 64), (8 * k, 255 - 8 * k, 0)).save(part / f"{k}.png")
        entries[f"{k}.png"] = {"p": f"a red boat {k // 3}, oil, moody", "se": k, "c": 7.0, "st": 5, "sa": "ddim"}
    (part / "part-000001.json").write_text(json.dumps(entries))
    return tmp_path / "log"


def go(tmp: Path, kind: str, *settings: str) -> dict[str, Any]:
    return train(tmp / "runs", kind, None, settings, Silent())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "prip"])
def test_a_language_model(tmp_path: Path, world: World, kind: str) -> None:
    weights = 'model.ppo.reward_weights={ "red" = 0.7, "green-aesthetic" = 0.3 }'
    done = go(tmp_path, kind, *LANGUAGE, weights)
    manifest = read_manifest(Path(done["refiner"]))
    assert manifest.kind == "causal"
    assert "miniworld" in manifest.label
    first = ["corpus"] if kind.startswith("rew") else []
    assert list(manifest.training) == [*first, "sft", "ppo"]
    assert manifest.training["ppo"]["steps"] == 2
    assert {"sft/loss", "ppo/objective/scores"} <= set(manifest.figures)
    assert manifest.data["renders"] == len(world.renderer.drawn)
    assert (tmp_path / "runs/refiners" / kind) == Path(done["refiner"])
    refiner: Any = load_refiner(done["refiner"])
    assert refiner.manifest.label == done["label"]
    history = json.loads((tmp_path / f"runs/refiners/{kind}.training/ppo.json").read_text())
    assert [row["step"] for row in history] == [1, 2]
    if kind.startswith("rew"):
        assert "not better by" in manifest.data["selected pairs"]


def test_each_step_of_reinforcement_sees_fresh_seeds_and_pairs_are_drawn_from_one(tmp_path: Path, world: World) -> None:
    go(tmp_path, "promptist", *LANGUAGE, 'stages=["sft","ppo"]')
    by_seed: dict[int, int] = {}
    for request in world.renderer.drawn:
        by_seed[request.seed] = by_seed.get(request.seed, 0) + 1
    assert len(by_seed) == 4, "two steps of two prompts"
    assert set(by_seed.values()) <= {1, 2, 3}, "the user's prompt, and two answers to it"


def test_rewards_that_read(tmp_path: Path, world: World) -> None:
    done = go(
        tmp_path, "beautifulprompt", *LANGUAGE, "reward.by=text", "model.ppo.reward_weights={}", "reward.keep=true"
    )
    manifest = read_manifest(Path(done["refiner"]))
    assert {"reward-red", "reward-green-aesthetic"} <= set(manifest.training)
    pairs = manifest.data["sft pairs"]
    assert len(world.renderer.drawn) <= 2 * pairs, "nothing is drawn for the steps of reinforcement"
    kept = load_text_rewards(Path(done["refiner"]))
    assert set(kept) == {"red", "green-aesthetic"}
    assert kept["green-aesthetic"].reading.template == "{refined}", "beauty does not depend on the user's prompt"


def test_a_pivot_refiner(tmp_path: Path, world: World, log: Path) -> None:
    done = go(tmp_path, "prip", *PIVOT, f"data.log={log}")
    manifest = read_manifest(Path(done["refiner"]))
    assert manifest.kind == "prip"
    assert list(manifest.training) == ["e", "d", "ppo"]
    assert manifest.data["preferred pictures"] == 10
    assert manifest.data["e pictures"] + manifest.data["e pictures held out"] == 10
    assert manifest.data["log"].endswith("30 pictures of 10 prompts")
    assert manifest.data["system-language pictures"] < 30
    assert world.scorers[0].items > 0
    refiner: Any = load_refiner(done["refiner"])
    assert refiner.manifest == manifest


def test_tries_are_drawn_for_users_prompts(tmp_path: Path, world: World, log: Path) -> None:
    settings = (*PIVOT, f"data.log={log}", "data.user_prompts=7", "data.tries=2", 'stages=["e","d"]')
    manifest = read_manifest(Path(go(tmp_path, "prip", *settings)["refiner"]))
    assert manifest.data["users"].startswith("miniworld: used 7 of 7")
    assert manifest.data["preferred pictures"] == 10 + 7
    requests = world.renderer.drawn
    assert len(requests) <= 7 * 3
    assert len({request.seed for request in requests}) == 7, "all wordings of a prompt from one seed"


def weights_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))}


@pytest.mark.parametrize("kind", ["neuroprompts", "prip"])
def test_killed_and_started_again_is_the_same(
    tmp_path: Path, world: World, log: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PIVOT if kind == "prip" else LANGUAGE
    settings = (*settings, f"data.log={log}", "model.ppo.steps=3")
    whole = go(tmp_path / "whole", kind, *settings)
    expected, drawn = weights_of(Path(whole["refiner"])), list(world.renderer.drawn)
    world.renderer.drawn.clear()
    real = world.renderer.render

    def killed_in_step_two(requests: Sequence[RenderRequest]) -> Any:
        if len(world.renderer.drawn) >= 10:
            raise KeyboardInterrupt
        return real(requests)

    monkeypatch.setattr(world.renderer, "render", killed_in_step_two)
    with pytest.raises(Interrupted, match="same command"):
        go(tmp_path / "killed", kind, *settings)
    assert not (tmp_path / f"killed/runs/refiners/{kind}").exists()
    monkeypatch.setattr(world.renderer, "render", real)
    resumed = go(tmp_path / "killed", kind, *settings)
    assert weights_of(Path(resumed["refiner"])) == expected
    assert len(world.renderer.drawn) == len(drawn), "nothing is drawn twice"
    assert go(tmp_path / "killed", kind, *settings) == resumed
    with pytest.raises(BadInput, match="another recipe"):
        go(tmp_path / "killed", kind, *settings, "seed=1")


def train_in_a_process(tmp: str, kind: str, rank: str) -> None:
    """Run by the next test in processes of their own."""
    found = World()
    experiments.training.workshop.load_models = lambda config: (found.renderer, found.scorers)
    experiments.training.workshop.load_scorer = lambda name: Colour()  # type: ignore[assignment]
    still = ("model.encoder.dropout=0", "model.decoder.lm.dropout=0", f"data.log={tmp}/log")
    settings = (*PIVOT, *still) if kind == "prip" else (*LANGUAGE, "model.lm.dropout=0")
    done = go(Path(tmp) / rank.strip("0123456789"), kind, *settings)
    Path(tmp, f"{rank}.json").write_text(json.dumps([len(found.renderer.drawn), done]))


@pytest.mark.parametrize("kind", ["prip", "rew-log"])
def test_of_several_processes_all_train_and_one_draws_reinforces_and_writes(
    tmp_path: Path, log: Path, kind: str
) -> None:
    this = "from tests.experiments.test_train import train_in_a_process as train"
    assert run_two(f"{this}; import os; train({str(tmp_path)!r}, {kind!r}, 'two' + os.environ['RANK'])") == [0, 0]
    one = subprocess.run([sys.executable, "-c", f"{this}; train({str(tmp_path)!r}, {kind!r}, 'one')"], check=False)
    assert one.returncode == 0
    (drawn, alone), (first, found), (other, nothing) = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two0", "two1")
    )
    assert drawn == first > other == 0
    assert nothing == {}
    assert found["figures"] == pytest.approx(alone["figures"], rel=1e-3, abs=1e-5)
    assert found["data"] == alone["data"]
    for file in weights_of(Path(alone["refiner"])):
        ours, wanted = (load_file(Path(done["refiner"]) / file) for done in (found, alone))
        torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-3)


def test_a_cap_on_pictures_is_never_overshot(tmp_path: Path, world: World) -> None:
    with pytest.raises(BudgetReached, match="--max-renders"):
        go(tmp_path, "neuroprompts", *LANGUAGE, "budget.max_renders=9")
    assert len(world.renderer.drawn) <= 9
    done = go(tmp_path, "neuroprompts", *LANGUAGE, "budget.max_renders=90")
    assert read_manifest(Path(done["refiner"])).data["renders"] == len(world.renderer.drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_configurations(kind: str) -> None:
    small, paper = load_training(kind), load_training(kind, PAPER)
    assert (small.size, paper.size) == ("miniworld", "paper")
    assert small.on_miniworld
    assert not paper.on_miniworld
    assert {f"{kind}.toml", f"{kind}-miniworld.toml"} <= {file.name for file in FOLDER.glob("*.toml")}


def test_the_papers_thresholds() -> None:
    prip, beautiful = load_training("prip", PAPER), load_training("beautifulprompt", PAPER)
    assert (prip.data.min_clip, prip.data.min_aesthetic) == (0.28, 5.2)
    assert (beautiful.data.filter.min_pick, beautiful.data.filter.min_tokens) == (18.5, 25)
    assert beautiful.model.ppo.reward_weights == {"pickscore": 0.7, "aesthetic": 0.3}
    assert prip.model.ppo.batch_size == 512


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: load_training("gpt"), "expected one of prip"),
        (lambda: load_training("prip", "no.toml"), "no config file at no.toml"),
        (lambda: load_training("prip", str(FOLDER / "promptist.toml")), "another refiner than prip"),
        (lambda: load_training("prip", None, ["data.colour=1"]), "'colour'.*expected one of"),
        (lambda: load_training("prip", None, ["data"]), "KEY=VALUE"),
        (lambda: load_training("prip", None, ["size.x=1"]), "is no table"),
        (lambda: load_training("prip", None, ["model.ppo.steps=0"]), "steps"),
        (lambda: load_training("prip", None, ["data.holdout=many"]), "holdout"),
        (lambda: load_training("prip", None, ['stages=["sft"]']), "expected e, d, ppo, or the first of them"),
        (lambda: load_training("prip", None, ['stages=["e","ppo"]']), "expected e, d, ppo, or the first of them"),
        (lambda: load_training("promptist", None, ['stages=["ppo"]']), "expected sft, ppo, or the first of them"),
        (lambda: load_training("promptist", None, ["stages=[]"]), "got none"),
        (lambda: load_training("prip", None, ["size=huge"]), "expected one of miniworld, paper"),
        (lambda: load_training("prip", None, ["seed=-1"]), "^seed is -1, expected 0 to 4294967295"),
        (lambda: load_training("prip", None, ["seed=4294967296"]), "expected 0 to 4294967295"),
        (lambda: load_training("promptist", None, ["model.sft.seed=-1"]), "seed is -1, expected 0 to"),
        (lambda: load_training("promptist", None, ["model.ppo.seed=-1"]), "seed is -1, expected 0 to"),
        (lambda: load_training("prip", None, ["data.seed=-1"]), r"^data\.seed is -1, expected at least 0"),
        (lambda: load_training("prip", None, ["data.count=-3"]), r"^data\.count is -3, expected at least 1"),
        (lambda: load_training("prip", None, ["vocabulary=-1"]), "^vocabulary is -1, expected at least 257"),
        (lambda: load_training("prip", None, ["reward.chunk=0"]), r"^reward\.chunk is 0, expected at least 1"),
        (lambda: load_training("prip", None, ["reward.by=ear"]), "'ear', expected pictures or text"),
        (lambda: load_training("prip", None, ["reward.scorers=[]"]), "got none, expected at least one"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_one_line(call: Callable[[], object], parts: str) -> None:
    with pytest.raises(BadInput, match=parts) as error:
        call()
    assert "\n" not in str(error.value)


def test_blocked_terms_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_text("a cat, oil\na dog, ink\na cat, oil\na dog by Ann Lee, ink\n")
    config = load_training("neuroprompts", None, [f"data.prompts={file}", 'data.block_terms=["ann lee"]']).data
    reader = Reader(config, tmp_path / "made")
    assert reader.prompts() == ["a cat, oil", "a dog, ink"]
    assert "1 blocked term" in reader.facts["prompts"]
    assert "CC0" in reader.facts["prompts"]
    with pytest.raises(BadInput, match="nothing usable"):
        Reader(
            load_training("neuroprompts", None, [f"data.prompts={file}", 'data.block_terms=["a"]']).data, file
        ).prompts()


def test_the_miniworlds_pairs_are_written_once_and_of_two_seeds(tmp_path: Path) -> None:
    reader = Reader(load_training("rew-log", None, ["data.count=12"]).data, tmp_path)
    pairs, sessions = reader.pairs(), reader.session_pairs()
    assert (len(pairs), len(sessions)) == (12, 12)
    assert pairs != sessions
    write_pairs(tmp_path / "same.jsonl", 12, 0)
    assert (tmp_path / "pairs-12-0.jsonl").read_bytes() == (tmp_path / "same.jsonl").read_bytes()
    assert reader.pairs() == pairs


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("neuroprompts", 'model.ppo.reward_weights={"hps"=1}', r"got hps, expected scorers .*red, green-aesthetic"),
        ("prip", 'model.ppo.reward_weights={"hps"=1}', r"got hps, expected scorers .*red, green-aesthetic"),
        ("promptist", "model.max_tokens=193", "max_tokens is 193, expected at most the model's 192"),
        ("promptist", "model.ppo.max_new_tokens=191", "no prompt of at most 1 tokens"),
        ("prip", "model.ppo.max_new_tokens=150", "max_new_tokens is 150, expected at most"),
    ],
)
def test_what_reinforcement_cannot_do_is_said_before_anything_is_trained(
    tmp_path: Path, world: World, log: Path, kind: str, change: str, said: str
) -> None:
    settings = (*PIVOT, f"data.log={log}") if kind == "prip" else LANGUAGE
    with pytest.raises(BadInput, match=said):
        go(tmp_path, kind, *settings, change)
    assert not (tmp_path / "runs/refiners/.stages").exists()
    with pytest.raises(BadInput, match=said):  # where no stage is done, another recipe may be tried
        go(tmp_path, kind, *settings, change, "seed=1")


def test_users_prompts_that_are_too_long_are_left_out(tmp_path: Path, world: World) -> None:
    users = tmp_path / "users.txt"
    users.write_text("\n".join(("a red boat", "a blue house, " * 60, "a green sky")))
    done = go(tmp_path, "promptist", *LANGUAGE, f"data.users={users}", "data.holdout=0")
    assert done["data"]["ppo prompts"] == 2
    assert done["data"]["ppo prompts left out"].startswith("1 of over 186 tokens")
    assert not [request for request in world.renderer.drawn if "blue house, a blue house" in request.prompt]


def test_equal_stages_are_trained_once_and_a_folder_keeps_to_its_recipe(tmp_path: Path, world: World) -> None:
    done = go(tmp_path, "promptist", *LANGUAGE)
    out, stages = Path(done["refiner"]), tmp_path / "runs/refiners/.stages"
    shutil.rmtree(out)
    with pytest.raises(BadInput, match=r"promptist.training is of another recipe; name another --out"):
        go(tmp_path, "promptist", *LANGUAGE, "reward.seeds=2")
    shutil.rmtree(tmp_path / "runs/refiners/promptist.training")
    before = {place: (place / "step-000002/state.json").stat().st_mtime_ns for place in (stages / "sft").iterdir()}
    other = go(tmp_path, "promptist", *LANGUAGE, "reward.seeds=2")
    assert other["figures"]["sft/loss"] == done["figures"]["sft/loss"]
    assert before == {place: (place / "step-000002/state.json").stat().st_mtime_ns for place in before}
    assert [len(list((stages / name).iterdir())) for name in ("sft", "ppo")] == [1, 2]


def test_another_budget_is_the_same_recipe(tmp_path: Path, world: World) -> None:
    done = go(tmp_path, "promptist", *LANGUAGE)
    shutil.rmtree(done["refiner"])
    assert go(tmp_path, "promptist", *LANGUAGE, "budget.max_renders=1000") == done


def test_a_changed_data_file_is_another_recipe(tmp_path: Path, world: World, log: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("".join(f"a red boat {k}, oil, moody\n" for k in range(20)))
    settings = (*LANGUAGE, f"data.prompts={file}", "data.block_terms=[]")
    done = go(tmp_path, "neuroprompts", *settings)
    assert go(tmp_path, "neuroprompts", *settings) == done
    file.write_text(file.read_text().replace("boat 3", "boat 33"))
    with pytest.raises(BadInput, match="another recipe"):
        go(tmp_path, "neuroprompts", *settings)
    data = load_training("prip", None, [f"data.log={log}", f"data.prompts={file}"]).data
    before = file_contents(data)
    assert set(before) == {"log", "prompts"}
    (log / "part-000001" / "0.png").write_bytes(b"")
    (log / "gone").symlink_to(tmp_path / "nowhere")
    after = file_contents(data)
    assert (before["log"] != after["log"], before["prompts"] == after["prompts"]) == (True, True)


def test_shipped_recipes_keep_their_names(tmp_path: Path) -> None:
    """What was trained before files counted is still found to be trained."""
    assert file_contents(load_training("prip").data) == {}
    config = load_training("neuroprompts")
    known = digest(plain([asdict(replace(config, budget=Caps())), {}]))
    seen: list[str] = []

    def recipe(shop: Workshop) -> None:
        seen.append(shop.reader.facts["recipe"])
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        make(tmp_path, tmp_path / "r", config, recipe, Silent())
    assert seen == [known]


def test_a_second_training_of_the_same_name_is_refused(tmp_path: Path) -> None:
    config = load_training("neuroprompts")

    def recipe(shop: Workshop) -> None:
        with pytest.raises(BadInput, match=r"r.training is being worked on by another process; wait for it"):
            make(tmp_path, tmp_path / "r", config, recipe, Silent())
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        make(tmp_path, tmp_path / "r", config, recipe, Silent())


def test_a_place_that_is_taken_is_found_out_before_training(tmp_path: Path, world: World) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="something that is no refiner"):
        train(tmp_path, "promptist", None, LANGUAGE, Silent(), out=tmp_path / "mine")
    assert not (tmp_path / "mine.training").exists()


@pytest.mark.parametrize("kind", ["beautifulprompt", "prip"])
def test_a_refiners_folder_is_there_whole_or_not_at_all(
    tmp_path: Path, world: World, log: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*PIVOT, f"data.log={log}") if kind == "prip" else (*LANGUAGE, "reward.by=text", "reward.keep=true")
    settings = (*settings, "model.ppo.reward_weights={}", 'stages=["e","d"]' if kind == "prip" else "half=true")
    real = shutil.copyfile

    def killed(source: Path, path: Path) -> None:
        if path.name == "categories.json":
            raise KeyboardInterrupt
        real(source, path)

    monkeypatch.setattr(experiments.training.language.shutil, "copyfile", killed)
    with pytest.raises(Interrupted):
        go(tmp_path, kind, *settings)
    assert not (tmp_path / "runs/refiners" / kind).exists()
    monkeypatch.setattr(experiments.training.language.shutil, "copyfile", real)
    out = Path(go(tmp_path, kind, *settings)["refiner"])
    assert (out / "categories.json").read_text() == CATEGORIES.read_text()
    assert set(load_text_rewards(out)) == (set() if kind == "prip" else {"red", "green-aesthetic"})
    assert not list(out.rglob("*.partial"))


def test_text_rewards_compare_with_the_datas_own_prompts(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held-out pairs too: reinforcement starts from their prompts as well."""
    found: list[tuple[str, str]] = []

    def watched(models: Any, reference: Callable[[str], str]) -> Any:
        def reward(episodes: Episodes) -> Any:
            found.extend((prompt, reference(prompt)) for prompt in episodes.prompts)
            return text_rewards(models, reference)(episodes)

        return reward

    monkeypatch.setattr(experiments.training.language, "text_rewards", watched)
    shape = ("model.ppo.steps=1", "model.ppo.batch_size=80", "model.ppo.max_new_tokens=1", "model.ppo.num_ppo_epochs=1")
    settings = (*LANGUAGE, *shape, "reward.by=text", "model.ppo.reward_weights={}", "reward.text.max_steps=1")
    data = go(tmp_path, "beautifulprompt", *settings)["data"]
    assert data["sft pairs held out"] > 0
    assert len({prompt for prompt, _ in found}) == data["ppo prompts"]
    assert not [prompt for prompt, other in found if prompt == other]


def test_equal_keys_stay_on_one_side() -> None:
    items = [(k // 4, k) for k in range(100)]
    training, evaluation = held_out(items, 12, 0, key=lambda item: item[0])
    assert len(evaluation) == 12
    assert not {item[0] for item in training} & {item[0] for item in evaluation}
    assert sorted([*training, *evaluation]) == items
    assert len(held_out(range(10), 64, 0)[1]) == 2, "at most a fifth"
    assert held_out([], 4, 0) == ([], [])


def test_after_reinforcement_the_decoder_is_what_it_was(tmp_path: Path, world: World, log: Path) -> None:
    settings = (*PIVOT, f"data.log={log}")
    plain = go(tmp_path / "sft", "prip", *settings, 'stages=["e","d"]')
    tuned = go(tmp_path / "rl", "prip", *settings)
    before, after = (load_file(Path(done["refiner"]) / "decoder/model.safetensors") for done in (plain, tuned))
    assert all((before[name] == after[name]).all() for name in before)
    one, two = (load_file(Path(done["refiner"]) / "encoder/model.safetensors") for done in (plain, tuned))
    assert any((one[name] != two[name]).any() for name in one)


def test_the_decoder_may_learn_without_pivots(tmp_path: Path, world: World, log: Path) -> None:
    """PRIP's table 4: then its projection stays as it was made."""
    settings = (*PIVOT, f"data.log={log}", 'stages=["e","d"]', "data.d_reads_pivots=false")
    one, two = (
        load_file(Path(go(tmp_path / name, "prip", *settings, *more)["refiner"]) / "decoder/projection.safetensors")
        for name, more in (("short", ()), ("long", ("model.pivot_system.max_steps=4",)))
    )
    assert all((one[name] == two[name]).all() for name in one)


def test_the_encoder_may_learn_random_pictures(tmp_path: Path, log: Path) -> None:
    def chosen(*settings: str) -> list[str]:
        config = load_training("prip", None, [f"data.log={log}", "data.drop_share=0.1", *settings]).data
        ranks = Reader(config, tmp_path).pictures(lambda name, images: [int(i.path.stem) for i in images])[0]
        return [picture.path.stem for picture in ranks]

    best, random = chosen(), chosen("data.preferred=random")
    assert best == [str(3 * k + 2) for k in range(10)]
    assert random != best
    assert random == chosen("data.preferred=random")
    assert [int(place) // 3 for place in random] == list(range(10)), "of the same prompts"
    with pytest.raises(BadInput, match="best or random"):
        chosen("data.preferred=worst")


def test_blocked_terms_are_blocked_in_users_prompts_too(tmp_path: Path) -> None:
    for count in (0, 200):
        settings = [f"data.user_prompts={count}", 'data.block_terms=["castle", "anime"]']
        users = Reader(load_training("prip", None, settings).data, tmp_path).users()
        assert len(users) > 100
        assert not [text for text in users if "castle" in text or "anime" in text]

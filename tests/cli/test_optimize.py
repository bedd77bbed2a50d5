"""`optimize` and `resume`: exit codes, what is printed where, what is left behind, what is carried over."""

import json
import os
import signal
from pathlib import Path

import pytest

import experiments.run
from agents.initial import INITIAL_INSTRUCTION
from experiments.wiring import Models
from tests.cli.conftest import Brushup, snapshot, write_toml
from tests.fakes import FakeRenderer


def test_a_run_ends_with_table_verdict_and_files(brushup: Brushup, models: Models, warm: Path) -> None:
    done = brushup("optimize", write_toml(warm.parent), "--run", "two", "--home", warm)
    assert done.code == 0
    assert done.out == ""
    assert "20 unseen prompts x 1 seeds" in done.err
    assert "unseen prompts" in done.err.split("best instruction (")[1]
    assert {path.name for path in (warm / "two").iterdir()} >= {
        "config.json",
        "run.db",
        "summary.json",
        "instructions.json",
        "contact_sheet.png",
    }


def test_json_is_the_summary_and_the_only_thing_on_stdout(brushup: Brushup, models: Models, warm: Path) -> None:
    done = brushup("optimize", write_toml(warm.parent), "--home", warm, "--quiet", "--json")
    assert done.code == 0
    assert done.err == ""
    assert done.json["run"] == "run-1"
    assert done.json == json.loads((warm / "run-1/summary.json").read_text())
    assert done.json["ledger"]["renders"] == done.json["ledger"]["renders_cached"], "the home's cache serves all runs"
    again = brushup("resume", "run-1", "--home", warm, "--json", "--quiet")
    assert again.code == 0
    assert again.json["best_instruction"] == done.json["best_instruction"]


def test_flags_override_the_file_and_are_stored(brushup: Brushup, models: Models, warm: Path) -> None:
    flags = ["--rounds", 1, "--batch-size", 3, "--policy", "greedy", "--reward", "score", "--reward-scale", "none"]
    flags += ["--seed", 5, "--holdout-seed", 6, "--keep", "verbatim", "--max-renders", 900, "--max-llm-calls", 901]
    flags += ["--max-llm-tokens", 9_000_000, "--max-usd", 1.5, "--max-seconds", 3600]
    flags += ["--price-in", 0.1, "--price-out", 0.2]
    done = brushup("optimize", write_toml(warm.parent), "--run", "two", "--home", warm, "--json", *flags)
    assert done.code == 0
    config = done.json["config"]
    assert config["run"] == config["run"] | {"rounds": 1, "batch_size": 3, "seed": 5, "holdout_seed": 6}
    assert config["bandit"] == config["bandit"] | {"policy": "greedy", "reward": "score", "reward_scale": "none"}
    assert config["agents"]["keep"] == "verbatim"
    assert config["budget"] == {
        "max_renders": 900,
        "max_llm_calls": 901,
        "max_llm_tokens": 9_000_000,
        "max_usd": 1.5,
        "max_seconds": 3600.0,
    }
    assert (config["agents"]["price_in"], config["agents"]["price_out"]) == (0.1, 0.2)
    assert config == json.loads((warm / "two/config.json").read_text())


def test_budget_reached_with_a_result_is_success(brushup: Brushup, models: Models, warm: Path) -> None:
    config = write_toml(warm.parent, run={"rounds": 9, "batch_size": 4})
    done = brushup("optimize", config, "--home", warm, "--max-renders", 150, "--json")
    assert done.code == 0
    assert done.json["stop_reason"] == "budget"
    assert done.json["ledger"]["renders"] <= 150


@pytest.mark.parametrize(("flag", "amount"), [("--max-renders", 60), ("--max-llm-calls", 40)])
def test_budget_before_any_result_is_exit_3(
    brushup: Brushup, models: Models, tmp_path: Path, flag: str, amount: int
) -> None:
    config = write_toml(tmp_path)
    before = snapshot(tmp_path)
    done = brushup("optimize", config, "--run", "one", "--home", tmp_path / "runs", "--quiet", flag, amount)
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert f"{flag} is {amount}" in done.err
    assert "nothing was spent" in done.err
    assert snapshot(tmp_path) == before


class Interrupting(FakeRenderer):
    """Presses Ctrl-C once while it draws; a second one would end the process, and the tests with it."""

    asked = False

    def render(self, requests):
        if len(self.drawn) > 30 and not self.asked:
            self.asked = True
            os.kill(os.getpid(), signal.SIGINT)
        return super().render(requests)


def test_ctrl_c_is_exit_130_with_the_resume_command_and_loses_nothing(
    brushup: Brushup, models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, finished: Path
) -> None:
    config, home = write_toml(tmp_path), tmp_path / "runs"
    stopped = Models(models.chat, Interrupting(), models.scorer, models.watched)
    with monkeypatch.context() as patch:
        patch.setattr(experiments.run, "load_models", lambda config, api_base=None: stopped)
        done = brushup("optimize", config, "--run", "one", "--home", home, "--json")
    assert done.code == 130
    assert done.out == ""
    assert f"brushup resume one --home {home}" in done.err
    assert "Traceback" not in done.err
    assert brushup("resume", "one", "--home", home, "--quiet").code == 0
    assert (home / "one/instructions.json").read_bytes() == (finished / "runs/one/instructions.json").read_bytes()


def test_ctrl_c_while_models_load_shows_the_resume_command_too(
    brushup: Brushup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(config, api_base=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments.run, "load_models", interrupted)
    done = brushup("optimize", write_toml(tmp_path), "--run", "one", "--home", tmp_path / "runs")
    assert done.code == 130
    assert "brushup resume one" in done.err
    assert (tmp_path / "runs/one/config.json").is_file()


def test_resume_stores_raised_caps(brushup: Brushup, models: Models, warm: Path) -> None:
    assert brushup("resume", "one", "--home", warm, "--max-renders", 5000, "--quiet").code == 0
    assert json.loads((warm / "one/config.json").read_text())["budget"]["max_renders"] == 5000


def origins(home: Path, run: str) -> dict[str, str]:
    arms = json.loads((home / run / "instructions.json").read_text())["instructions"]
    return {arm["text"]: arm["origin"] for arm in arms}


def test_instructions_of_a_text_file_join_the_pool(brushup: Brushup, models: Models, warm: Path) -> None:
    own = warm.parent / "own.txt"
    own.write_text("Add cel shading to the prompt.\n\nAdd fine detail\nand rich tones.\n")
    done = brushup("optimize", write_toml(warm.parent), "--run", "two", "--home", warm, "--instructions", own)
    assert done.code == 0
    found = origins(warm, "two")
    assert found["Add cel shading to the prompt."] == "user"
    assert found["Add fine detail\nand rich tones."] == "user"
    assert found[INITIAL_INSTRUCTION] == "initial"


def test_from_starts_with_the_finalists_of_another_run(brushup: Brushup, models: Models, warm: Path) -> None:
    config = write_toml(warm.parent)
    assert brushup("optimize", config, "--run", "two", "--home", warm, "--from", "one", "--seed", 1).code == 0
    first = json.loads((warm / "one/instructions.json").read_text())
    taken = [arm["text"] for arm in first["instructions"] if arm["finalist"] and arm["origin"] != "initial"]
    assert taken
    assert {text for text, origin in origins(warm, "two").items() if origin == "user"} == set(taken)


def test_an_export_can_be_given_to_the_next_run(brushup: Brushup, models: Models, warm: Path) -> None:
    file = warm.parent / "tuned.json"
    assert brushup("export", "one", "--home", warm, "-o", file).code == 0
    config = write_toml(warm.parent)
    assert brushup("optimize", config, "--run", "two", "--home", warm, "--instructions", file).code == 0
    exported = {arm["text"] for arm in json.loads(file.read_text())["instructions"] if arm["origin"] != "initial"}
    assert exported <= set(origins(warm, "two"))

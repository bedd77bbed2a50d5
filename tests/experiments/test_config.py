"""Configuration files: defaults, overrides, and one line for everything that is wrong."""

import tomllib
from pathlib import Path

import pytest

from core.errors import BadInput
from experiments.config import FLAGS, RunConfig, load_config, parse_config
from rendering import RenderSettings

CONFIGS = sorted(Path("experiments/configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_are_valid(path: Path) -> None:
    assert load_config(path, {}) != RunConfig()
    assert tomllib.loads(path.read_text())


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[run]\nrounds = 9\nseed = 4\n")
    config = load_config(file, {"rounds": 2, "seed": None})
    assert (config.run.rounds, config.run.seed) == (2, 4)


def test_more_pulls_than_births_by_default() -> None:
    assert parse_config({"run": {"children": 3}}, source="x").pulls_per_round == 8
    assert parse_config({"run": {"children": 3, "pulls_per_round": 5}}, source="x").pulls_per_round == 5


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"run": {"colour": 1}}, "unknown key 'run.colour' in x"),
        ({"rum": {}}, "unknown key 'rum' in x"),
        ({"run": {"rounds": "three"}}, r"run.rounds \(--rounds\) is 'three' in x; expected: a valid integer"),
        ({"run": {"rounds": 0}}, r"--rounds\) is 0 in x; expected: greater than or equal to 1"),
        ({"run": {"batch_size": -4}}, r"--batch-size\) is -4"),
        ({"bandit": {"policy": "lucky"}}, "--policy .* is 'lucky'; expected one of: uniform, greedy, eps-greedy, "),
        ({"bandit": {"reward": "fame"}}, "--reward .* is 'fame'; expected one of: paired, score"),
        ({"evaluation": {"test_prompts": 5}}, "expected: greater than or equal to 20"),
        ({"run": 7}, "run is 7 in x; expected: an object"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(raw: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        parse_config(raw, source="x")
    assert "\n" not in str(caught.value)


def test_every_flag_names_a_key_that_exists() -> None:
    dumped = RunConfig().model_dump()
    for target in FLAGS.values():
        section, key = target.split(".")
        assert key in dumped[section]


def test_every_setting_of_the_renderer_is_a_key_and_has_the_same_default() -> None:
    assert RunConfig().render.settings() == RenderSettings()
    with pytest.raises(BadInput, match="render device: got 'tpu', expected auto, cpu, cuda, cuda:N or mps"):
        parse_config({"render": {"device": "tpu"}}, source="x").render.settings()


def test_limits_of_the_config_reach_the_chat_model() -> None:
    from agents.limits import Limits
    from experiments.wiring import load_chat

    raw = {
        "llm": "m",
        "api_base": "http://localhost:1/v1",
        "concurrency": 3,
        "rpm": 10,
        "tpm": 5000,
        "json_schema": "off",
    }
    chat = load_chat(parse_config({"agents": raw}, source="the test").agents)
    assert chat._gate._limits == Limits(3, 10, 5000)  # type: ignore[attr-defined]
    assert chat._unsupported == {"response_format"}  # type: ignore[attr-defined]

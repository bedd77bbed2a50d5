"""A planted API key reaches no file under home, no output, and no server that a file named."""

import socketserver
from pathlib import Path

import pytest

import experiments.run
from experiments.config import RunConfig
from experiments.wiring import Models, load_chat
from tests.cli.conftest import Brushup, Result, write_toml
from tests.fakes import fake_models
from tests.fixtures.openai_server import OpenAIServer

KEY = "sk-planted0123456789abcdef"


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant the key; the LLM is the configured one, the picture models are fakes."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    # the test server's threads tell of clients that left in the middle, on this process's stderr
    monkeypatch.setattr(socketserver.BaseServer, "handle_error", lambda self, request, address: None)

    def load(config: RunConfig, api_base: str | None = None) -> Models:
        fakes = fake_models()
        return Models(load_chat(config.agents, api_base=api_base), fakes.renderer, fakes.scorer)

    monkeypatch.setattr(experiments.run, "load_models", load)


def assert_clean(done: Result, home: Path) -> None:
    assert KEY not in done.out
    assert KEY not in done.err
    for path in home.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_whole_run_and_its_use(brushup: Brushup, tmp_path: Path) -> None:
    config, home = write_toml(tmp_path, run={"rounds": 1, "batch_size": 4}), tmp_path / "runs"
    with OpenAIServer() as server:
        server.faults.extend(["echo-key"] * 4)  # a server that writes the key it got into its replies
        done = brushup("optimize", config, "--run", "k", "--home", home, "--llm", "m", "--api-base", server.url)
        assert done.code == 0
        assert f"Bearer {KEY}" in {headers["authorization"] for headers in server.headers}
        assert_clean(done, home)
        for command in (["show", "k"], ["show", "k", "--json"], ["export", "k"], ["runs", "--json"]):
            assert_clean(brushup(*command, "--home", home), home)
        server.faults.extend(["echo-key"])
        used = brushup("refine", "a red cat", "--run", "k", "--home", home, "--api-base", server.url)
        assert used.code == 0
        assert_clean(used, home)


def test_a_server_that_echoes_the_key_in_a_401(brushup: Brushup, tmp_path: Path) -> None:
    config, home = write_toml(tmp_path), tmp_path / "runs"
    with OpenAIServer() as server:
        server.always = "401"
        done = brushup("optimize", config, "--run", "k", "--home", home, "--llm", "m", "--api-base", server.url)
    assert done.code == 2
    assert "401" in done.err
    assert "check the API key" in done.err
    assert "Traceback" not in done.err
    assert_clean(done, home)
    assert_clean(brushup("show", "k", "--home", home, "--json"), home)


def test_a_401_while_refining(brushup: Brushup, home: Path) -> None:
    with OpenAIServer() as server:
        server.always = "401"
        done = brushup("refine", "a cat", "--run", "one", "--home", home, "--llm", "m", "--api-base", server.url)
    assert done.code == 2
    note, error = done.err.splitlines()
    assert note.startswith("note: run one was tuned with offline/agents")
    assert "m answered 401" in error
    assert "check the API key" in error
    assert_clean(done, home)


def test_no_key_goes_to_an_address_that_a_file_brought(brushup: Brushup, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        server.always = "401"
        config = write_toml(tmp_path, agents={"llm": "m", "api_base": server.url})
        done = brushup("optimize", config, "--run", "k", "--home", tmp_path / "runs")
        assert done.code == 2
        assert server.headers
        assert all(KEY not in str(headers) for headers in server.headers)
    assert_clean(done, tmp_path / "runs")


def test_a_key_in_an_address_is_refused_and_forgotten(brushup: Brushup, tmp_path: Path) -> None:
    config = write_toml(tmp_path)
    base = f"http://user:{KEY}@127.0.0.1:9/v1"
    done = brushup("optimize", config, "--run", "k", "--home", tmp_path / "runs", "--llm", "m", "--api-base", base)
    done.refused("--api-base", "OPENAI_API_KEY")
    assert_clean(done, tmp_path / "runs")
    assert not (tmp_path / "runs" / "k").exists()


def test_a_key_in_a_config_file_is_not_repeated(brushup: Brushup, tmp_path: Path) -> None:
    config = tmp_path / "key.toml"
    config.write_text(f'[agents]\napi_key = "{KEY}"\n')
    done = brushup("optimize", config, "--home", tmp_path / "runs")
    done.refused("unknown key 'agents.api_key'")
    assert KEY not in done.err

"""Unloading a local LLM, against a server that behaves like Ollama, and against one that does not."""

import asyncio

import pytest

from agents.ollama import LOCAL, OllamaUnloader, ollama_address
from tests.fixtures.openai_server import OpenAIServer

KEY = "planted-key-0123456789abcdef"


def unload(model, address, times=1):
    warnings = []
    unloader = OllamaUnloader(model, address, warn=warnings.append)
    for _ in range(times):
        asyncio.run(unloader())
    return warnings


@pytest.mark.parametrize("model", ["llama3", "openai/llama3", "ollama_chat/llama3"])
def test_the_model_is_unloaded_without_any_key(monkeypatch, model):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer(ollama=True) as server:
        server.loaded = {"llama3", "other"}
        assert unload(model, ollama_address(model, server.url), times=2) == []
        assert server.loaded == {"other"}
    assert len(server.unloads) == 2
    body = server.unloads[0]
    assert (body["model"], body["keep_alive"]) == ("llama3", 0)
    assert "prompt" not in body
    assert "authorization" not in body["headers"]


def test_another_server_gets_one_warning_line_and_nothing_else():
    with OpenAIServer() as server:
        [warning] = unload("llama3", ollama_address("llama3", server.url), times=3)
    assert "is not an Ollama server" in warning
    assert "\n" not in warning
    assert server.unloads == []


@pytest.mark.parametrize(
    ("model", "api_base", "address"),
    [
        ("llama3", "http://gpu:11434/v1", "http://gpu:11434"),
        ("llama3", "http://gpu:11434/v1/", "http://gpu:11434"),
        ("llama3", "http://gpu/ollama/v1", "http://gpu/ollama"),
        ("ollama/llama3", None, LOCAL),
        ("openai/gpt-4o-mini", None, None),
        ("offline/agents", None, None),
    ],
)
def test_where_ollama_would_be(model, api_base, address):
    assert ollama_address(model, api_base, {}) == address
    assert ollama_address("ollama/x", None, {"OLLAMA_API_BASE": "http://gpu:1/"}) == "http://gpu:1"


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:9"])
def test_no_server_is_a_warning_and_no_failure(address):
    assert len(unload("llama3", address, times=2)) == 1

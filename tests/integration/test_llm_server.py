"""A whole run whose agents talk to an OpenAI-compatible server over HTTP, faults included."""

import time
from pathlib import Path

import pytest

from agents import make_chat_model
from core.errors import ProviderError
from core.progress import Silent
from experiments.run import run
from experiments.wiring import Models
from prompt_db.run_store import RunStore
from tests.fakes import fake_models
from tests.fixtures.openai_server import OpenAIServer
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow


def over_http(server: OpenAIServer) -> Models:
    models = fake_models()
    return Models(make_chat_model("test-model", api_base=server.url), models.renderer, models.scorer)


def test_a_run_over_http_with_faults_ends_with_a_result(tmp_path: Path) -> None:
    config = stub_config(tmp_path, run={"rounds": 2, "batch_size": 4}, agents={"llm": "test-model"})
    folder = stub_folder(tmp_path, config)
    with OpenAIServer() as server:
        server.faults.extend(["429", "500", "malformed"])
        summary = run(folder, config, Silent(), started=time.time(), models=over_http(server))
        sent = len(server.requests)
    assert summary["status"] == "completed"
    assert summary["ledger"]["llm_calls"] <= sent <= summary["ledger"]["llm_calls"] + 3
    assert summary["ledger"]["usd"] is None, "the price of an unknown model is unknown, not 0"
    assert summary["ledger"]["prompt_tokens"] > 1000


def test_a_refused_key_ends_the_run_with_one_line_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    config = stub_config(tmp_path, run={"rounds": 2, "batch_size": 4}, agents={"llm": "test-model"})
    folder = stub_folder(tmp_path, config)
    with OpenAIServer() as server:
        server.always = "401"
        with pytest.raises(ProviderError, match="401") as caught:
            run(folder, config, Silent(), started=time.time(), models=over_http(server))
        assert "\n" not in str(caught.value)
        server.always = ""
        summary = run(folder, config, Silent(), started=time.time(), models=over_http(server))
    assert summary["status"] == "completed"
    store = RunStore.reader(folder.database)
    assert [row["outcome"] for row in store.rows("SELECT outcome FROM session ORDER BY id")] == [
        "ProviderError",
        "completed",
    ]
    store.close()

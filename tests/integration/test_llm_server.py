"""A whole run whose agents talk to an OpenAI-compatible server over HTTP, faults included."""

import json
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agents import make_chat_model
from agents.retry import RetryPolicy
from core.errors import ProviderError
from core.progress import Silent
from core.records import RenderRequest, RenderResult
from experiments.details import run_details
from experiments.run import run
from experiments.wiring import Models
from prompt_db.run_store import RunStore
from tests.fakes import FakeRenderer, fake_models
from tests.fixtures.openai_server import HTTP_FAULTS, MARK, REPLY_FAULTS, OpenAIServer
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow


def over_http(server: OpenAIServer, retry: RetryPolicy | None = None) -> Models:
    return replace(fake_models(), chat=make_chat_model("test-model", api_base=server.url, retry=retry))


def fault_plan(seed: int, share: float = 0.3) -> list[str]:
    """Return the fault of each request, "" for most: a function of the seed, every kind equally often."""
    dice = random.Random(seed)  # noqa: S311
    kinds: list[str] = []
    plan = []
    for _ in range(5000):
        kinds = kinds or dice.sample(HTTP_FAULTS + REPLY_FAULTS, k=len(HTTP_FAULTS + REPLY_FAULTS))
        plan.append(kinds.pop() if dice.random() < share else "")
    return plan


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


def test_a_run_with_30_percent_faults_completes_accounts_for_every_request_and_uses_no_faulty_text(
    tmp_path: Path,
) -> None:
    """A request takes at most 1.5 s and a pause at most 1.2 s whatever Retry-After says; all of it under a minute."""
    config = stub_config(
        tmp_path,
        run={"rounds": 2, "batch_size": 4},
        evaluation={"validation_prompts": 8, "test_prompts": 20, "test_seeds": 1},
        agents={"llm": "test-model"},
    )
    folder = stub_folder(tmp_path, config)
    retry = RetryPolicy(attempts=10, timeout=1.5, total=30.0, first_pause=0.05, longest_pause=1.2)
    began = time.monotonic()
    with OpenAIServer(hang_seconds=3.0) as server:
        server.faults.extend(fault_plan(seed=1))
        models = over_http(server, retry)
        summary = run(folder, config, Silent(), started=time.time(), models=models)
        met = Counter(server.met)
    wall = time.monotonic() - began
    assert summary["status"] == "completed"
    assert wall < 60
    faults = sum(count for fault, count in met.items() if fault)
    assert 0.2 < faults / sum(met.values()) < 0.4
    assert set(met) == {"", *HTTP_FAULTS, *REPLY_FAULTS}, "every kind of fault was met"

    details = run_details(folder)
    assert sum(met.values()) == sum(details.requests.values()) == summary["ledger"]["llm_requests"]
    assert summary["ledger"]["llm_calls"] + details.requests["429"] == sum(met.values()), "429 alone is not charged"
    assert details.requests["429"] == met["429:1"] + met["429:100"]
    assert details.requests["no answer"] == met["hang"] + met["reset"] + met["cut"]
    assert details.requests["502"] == met["broken-json"] + met["html"]
    assert details.requests["length"] == met["length"]
    kinds = {kind.removeprefix("refine: ") for kind in details.failures if kind.startswith("refine: ")}
    assert kinds <= {"truncated", "refused", "empty", "malformed"}

    store = RunStore.reader(folder.database)
    for table, column in (("refinement", "text"), ("instruction", "text"), ("gradient", "text"), ("render", "prompt")):
        rows = store.rows(f"SELECT {column} AS text FROM {table}")
        assert rows
        assert not [row for row in rows if MARK in (row["text"] or "") or "sorry" in (row["text"] or "")], table
    scored = store.rows(
        "SELECT refinement.error, refinement.text FROM score JOIN block ON block.id = block_id JOIN refinement ON"
        " refinement.arm = score.arm AND refinement.prompt_id = block.prompt_id"
        " AND refinement.replicate = block.replicate WHERE refinement.error != ''"
    )
    store.close()
    assert scored == [], "what could not be refined has no score"
    assert isinstance(models.renderer, FakeRenderer)
    assert not [request for request in models.renderer.drawn if MARK in request.prompt]
    assert MARK not in folder.instructions_file.read_text()
    assert MARK not in json.dumps(summary)


class Watchful(FakeRenderer):
    """Remembers which models its LLM server held in memory whenever something was drawn."""

    server: OpenAIServer

    def render(self, requests: list[RenderRequest]) -> list[RenderResult]:  # type: ignore[override]
        self.beside = getattr(self, "beside", set()) | self.server.loaded
        return super().render(requests)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_local_llm_leaves_the_memory_before_pictures_are_drawn_when_that_is_wanted(tmp_path: Path, wanted) -> None:
    with OpenAIServer(ollama=True) as server:
        agents = {"llm": "test-model", "api_base": server.url, "free_llm_vram": wanted}
        config = stub_config(tmp_path, run={"rounds": 1, "batch_size": 4, "pulls_per_round": 2}, agents=agents)
        models = over_http(server)
        renderer = Watchful()
        renderer.server = server
        run(
            stub_folder(tmp_path, config),
            config,
            Silent(),
            started=time.time(),
            models=replace(models, renderer=renderer),
        )
    assert renderer.beside == (set() if wanted else {"test-model"})
    assert {body["model"] for body in server.unloads} == ({"test-model"} if wanted else set())

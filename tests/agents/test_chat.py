"""Chat models over real HTTP: routing, retries, failures, and keys that must not show."""

import asyncio
import logging
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agents import INITIAL_INSTRUCTION, LLMRefiner, load_templates, make_chat_model
from agents.limits import Gate, Limits
from agents.parameters import refused_parameter
from agents.redact import redact
from agents.retry import CallFailure, RetryPolicy, explain, parse_retry_after, with_retries
from core.errors import BadInput, ProviderError
from core.interfaces import ChatModel
from core.records import ChatRequest, Completion, Message
from core.scope import logged_requests
from tests.fixtures.openai_server import HTTP_FAULTS, MARK, REPLY_FAULTS, OpenAIServer

KEY = "planted-key-0123456789abcdef"
FAST = RetryPolicy(attempts=3, timeout=20.0, total=60.0, first_pause=0.01, longest_pause=0.05)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIServer() as running:
        yield running


def request(naive="a red cat", replicate=0):
    chat = make_chat_model("offline/agents")
    examples = ["a dog, crisp, vivid, airy, bold, calm", "a tree, soft, grand, warm"]
    refiner = LLMRefiner(chat, INITIAL_INSTRUCTION, templates=load_templates(), exemplars=lambda _: examples)
    return ChatRequest(refiner.messages(naive), replicate, json_schema={"type": "object"})


def local(server, **kwargs):
    return make_chat_model("some-model", api_base=server.url, retry=kwargs.pop("retry", FAST), **kwargs)


def fails(chat, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderError) as caught:
        asyncio.run(chat.complete(request()))
    text = str(caught.value)
    assert "\n" not in text
    assert KEY not in text + caplog.text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return text


def test_same_answer_over_http_as_directly(server):
    offline, remote = make_chat_model("offline/agents"), local(server)
    assert isinstance(offline, ChatModel)
    assert isinstance(remote, ChatModel)
    for replicate in (0, 7):
        direct = asyncio.run(offline.complete(request(replicate=replicate)))
        answer = asyncio.run(remote.complete(request(replicate=replicate)))
        assert answer.text == direct.text
        assert answer.usd is None
        assert answer.prompt_tokens > 0
        assert answer.completion_tokens > 0
        assert answer.seconds > 0
        assert direct.usd == 0.0
    body = server.requests[0]
    assert body["model"] == "some-model"
    assert body["max_tokens"] == 600
    assert body["response_format"]["json_schema"]["strict"] is True
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "openai-organization" not in server.headers[0]


def test_openai_prefix_is_dropped_for_the_server(server):
    chat = make_chat_model("openai/gpt-x", api_base=server.url)
    asyncio.run(chat.complete(request()))
    assert server.requests[0]["model"] == "gpt-x"
    assert chat.name == "openai/gpt-x"


@pytest.mark.parametrize("fault", HTTP_FAULTS)
def test_passing_trouble_is_retried_and_every_request_is_logged(server, fault):
    server.hang_seconds = 1.0
    server.faults.extend([fault, "429"])
    with logged_requests() as outcomes:
        text = asyncio.run(local(server, retry=replace(FAST, timeout=0.5)).complete(request())).text
    assert text == asyncio.run(make_chat_model("offline/agents").complete(request())).text
    assert len(server.requests) == 3
    silent = {"hang": "no answer", "reset": "no answer", "cut": "no answer", "broken-json": "502", "html": "502"}
    assert outcomes == [silent.get(fault, fault[:3]), "429", "ok"]


@pytest.mark.parametrize("fault", ["429", "500"])
def test_lasting_trouble_ends_after_the_attempts(server, caplog, fault):
    server.always = fault
    assert f"answered {fault} to 3 calls" in fails(local(server), caplog)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("fault", "fix"),
    [("400", "model's name"), ("401", "API key in the environment"), ("403", "this API key"), ("404", "--api-base")],
)
def test_refusals_end_at_once_with_a_fix_and_without_the_echoed_key(server, caplog, fault, fix):
    server.always = fault
    text = fails(local(server), caplog)
    assert f"some-model answered {fault}" in text
    assert fix in text
    assert "[redacted]" in text
    assert len(server.requests) == 1


def test_redirects_are_not_followed(server, caplog):
    server.always = "302"
    assert "answered 302" in fails(local(server), caplog)
    assert len(server.requests) == 1


def test_retry_after_is_capped(server):
    server.retry_after = "100"
    server.faults.append("429")
    start = time.perf_counter()
    assert asyncio.run(local(server).complete(request())).text
    assert time.perf_counter() - start < 15


def test_a_hanging_server_ends_in_time(server, caplog):
    server.always = "hang"
    start = time.perf_counter()
    text = fails(local(server, retry=RetryPolicy(3, timeout=0.3, total=0.7, first_pause=0.01)), caplog)
    assert "did not answer" in text
    assert time.perf_counter() - start < 4


def test_no_server_at_all(caplog):
    chat = make_chat_model("m", api_base="http://127.0.0.1:9/v1", retry=FAST)
    assert "check the network and --api-base" in fails(chat, caplog)


@pytest.mark.parametrize("fault", REPLY_FAULTS)
def test_bad_replies_become_typed_failures_of_one_prompt(server, fault):
    server.faults.extend([fault, fault])
    refiner = LLMRefiner(local(server), INITIAL_INSTRUCTION, templates=load_templates())
    [item] = asyncio.run(refiner.refine(["a red cat"], seed=0))
    assert server.met == [fault, fault]
    kinds = {"length": "truncated", "refused": "refused", "filter": "refused", "refusal": "refused", "empty": "empty"}
    kinds |= {"thinking": "empty", "apology": "refused"}
    assert item.text == ""
    assert item.error.partition(":")[0] == kinds.get(fault, "malformed")
    assert MARK not in item.error
    assert len(server.requests) == 2


def test_a_refused_key_ends_the_refiner_and_not_just_one_prompt(server):
    server.always = "401"
    refiner = LLMRefiner(local(server), INITIAL_INSTRUCTION, templates=load_templates())
    with pytest.raises(ProviderError, match="401"):
        asyncio.run(refiner.refine(["a red cat", "a tree"], seed=0))


def test_a_key_in_a_reply_is_masked(server):
    server.faults.append("echo-key")
    text = asyncio.run(local(server).complete(request())).text
    assert "a red cat" in text
    assert KEY not in text


@pytest.mark.parametrize("refused", [{"temperature", "seed"}, {"response_format"}])
def test_parameters_that_a_server_refuses_are_left_out_for_good_and_each_request_is_logged(server, refused):
    server.unsupported = refused
    chat = local(server)

    async def several():
        await asyncio.gather(*(chat.complete(request(replicate=k)) for k in range(3)))
        await chat.complete(request())

    with logged_requests() as outcomes:
        asyncio.run(several())
    assert len(outcomes) == len(server.requests)
    assert outcomes.count("ok") == 4
    assert {text for text in outcomes if text != "ok"} == {f"400, now without {name}" for name in refused}
    assert not refused & set(server.requests[-1])


@pytest.mark.parametrize(
    ("status", "named", "body", "found"),
    [
        (400, "response_format.json_schema", "", "response_format"),
        (400, None, {"message": "This model does not support structured outputs"}, "response_format"),
        (422, None, {"detail": [{"loc": ["body", "response_format"], "msg": "extra"}]}, "response_format"),
        (400, None, "Unsupported parameter: 'seed'", "seed"),
        (400, None, "the prompt is too long", None),
        (400, "max_tokens", "max_tokens is too large", None),
        (404, None, "response_format", None),
        (500, "seed", "", None),
    ],
)
def test_which_parameter_a_refusal_is_about(status, named, body, found):
    assert refused_parameter(status, named, body, {"response_format", "seed", "messages"}) == found
    assert refused_parameter(status, named, body, {"messages"}) is None


def test_json_schema_can_be_turned_off(server):
    asyncio.run(local(server, json_schema=False).complete(request()))
    assert "response_format" not in server.requests[0]


def test_no_more_requests_in_flight_than_allowed(server):
    chat, server.delay = local(server, limits=Limits(2)), 0.1

    async def many():
        await asyncio.gather(*(chat.complete(request(replicate=k)) for k in range(6)))

    asyncio.run(many())
    assert server.most_in_flight == 2


def test_a_call_in_a_pause_holds_no_place():
    """With one place, another call goes through while the first one waits for its second attempt."""
    order = []

    async def busy():
        order.append("busy")
        if order.count("busy") == 1:
            raise CallFailure("busy", status=429, retry_after=9.0)
        return Completion("a")

    async def quick():
        order.append("quick")
        return Completion("b")

    async def both():
        gate, waiting = Gate(Limits(1)), asyncio.Event()

        async def until_the_other_is_done(seconds):
            await waiting.wait()

        slow = asyncio.create_task(
            with_retries(busy, policy=FAST, name="m", jitter_key="k", gate=gate, sleep=until_the_other_is_done)
        )
        await asyncio.sleep(0)
        await with_retries(quick, policy=FAST, name="m", jitter_key="k", gate=gate)
        waiting.set()
        await slow

    asyncio.run(asyncio.wait_for(both(), 5))
    assert order == ["busy", "quick", "busy"]


def test_pauses_and_attempts_together_stay_inside_the_total():
    waited = []

    async def record(seconds):
        waited.append(seconds)

    async def call():
        raise CallFailure("busy", status=429, retry_after=100.0)

    policy = RetryPolicy(attempts=99, timeout=1.0, total=10.0, longest_pause=3.0)
    with pytest.raises(ProviderError, match="429 to 4 calls"):
        asyncio.run(with_retries(call, policy=policy, name="m", jitter_key="k", gate=Gate(Limits()), sleep=record))
    assert waited == [3.0, 3.0, 3.0]


def test_one_chat_model_serves_several_event_loops_and_many_calls(server):
    chat = local(server, limits=Limits(2))

    async def many():
        return await asyncio.gather(*(chat.complete(request(replicate=k)) for k in range(6)))

    assert [reply.text for reply in asyncio.run(many())] == [reply.text for reply in asyncio.run(many())]


@pytest.mark.parametrize(
    ("model", "kwargs", "said"),
    [
        ("offline/other", {}, "unknown offline model"),
        ("offline/agents", {"api_base": "http://x/v1"}, "drop --api-base"),
        ("gpt-4o", {}, "expected PROVIDER/NAME"),
        ("", {"api_base": "http://x/v1"}, "expected PROVIDER/NAME"),
        ("openai/gpt-x", {"environ": {}}, "set OPENAI_API_KEY"),
        ("m", {"api_base": "ftp://x"}, "--api-base"),
        ("m", {"api_base": "nonsense"}, "--api-base"),
        ("m", {"api_base": f"http://user:{KEY}@x/v1"}, "OPENAI_API_KEY"),
        ("offline/agents", {"timeout": 0}, "positive"),
    ],
)
def test_bad_models_are_refused_at_construction(model, kwargs, said):
    with pytest.raises(BadInput, match=said) as caught:
        make_chat_model(model, **kwargs)
    assert KEY not in str(caught.value)


def test_the_official_service_gets_the_schema_and_its_own_key():
    chat = make_chat_model("openai/gpt-x", environ={"OPENAI_API_KEY": KEY})
    arguments = chat._arguments(request())
    assert arguments["response_format"]["json_schema"]["strict"] is True
    assert arguments["max_completion_tokens"] == 600
    assert KEY not in repr(chat)


def test_offline_imports_no_client_library():
    code = (
        "import sys, agents; agents.make_chat_model('offline/agents');"
        "sys.exit(bool({'litellm', 'openai', 'torch', 'httpx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_redaction():
    environ = {"MY_SERVICE_TOKEN": "tttttttttt", "SHORT_KEY": "abc", "HOME": "/home/someone"}
    text = redact("tttttttttt abc sk-abcdefgh1234 Bearer abc.def.ghi-123 http://u:p@host/x /home/someone", environ)
    assert "tttttttttt" not in text
    assert "sk-" not in text
    assert "abc.def" not in text
    assert "u:p" not in text
    assert "/home/someone" in text


def test_pauses_grow_and_obey_retry_after():
    pauses = []

    async def record(seconds):
        pauses.append(seconds)

    async def call():
        raise CallFailure("busy", status=429, retry_after=7.0 if len(pauses) == 2 else None)

    policy = RetryPolicy(attempts=4, first_pause=1.0, longest_pause=6.0)
    with pytest.raises(ProviderError, match="429 to 4 calls"):
        asyncio.run(with_retries(call, policy=policy, name="m", jitter_key="k", gate=Gate(Limits()), sleep=record))
    assert 0.5 <= pauses[0] <= 1.0
    assert 1.0 <= pauses[1] <= 2.0
    assert pauses[2] == 6.0


@pytest.mark.parametrize(
    ("status", "again"), [(None, True), (408, True), (429, True), (500, True), (503, True), (400, False), (401, False)]
)
def test_what_is_worth_retrying(status, again):
    assert CallFailure("x", status=status).worth_retrying is again
    assert "\n" not in explain(CallFailure("a\nb", status=status), "m", 2)


def test_retry_after_header():
    assert parse_retry_after("3") == 3.0
    now = datetime(2026, 10, 21, 7, 27, 30, tzinfo=UTC)
    assert parse_retry_after("Wed, 21 Oct 2026 07:28:00 GMT", now) == 30.0
    assert parse_retry_after("Wed, 21 Oct 2026 07:28:00 -0000", now) == 30.0
    assert parse_retry_after("Tue, 20 Oct 2026 07:28:00 GMT", now) == 0.0
    assert parse_retry_after("soon") is None
    assert parse_retry_after("-5") == 0.0
    assert parse_retry_after(None) is None


def test_offline_model_refuses_other_work():
    chat = make_chat_model("offline/agents")
    with pytest.raises(ProviderError, match="plays only"):
        asyncio.run(chat.complete(ChatRequest((Message("user", "write a poem"),))))

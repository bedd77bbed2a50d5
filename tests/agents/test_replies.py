import asyncio

import pytest

from agents.replies import GradientReply, InstructionsReply, PromptReply, ask, looks_refused, parse_reply
from agents.settings import Sampling
from core.errors import AgentFailure
from core.records import Completion, Message
from tests.agents.scripted import ScriptedChatModel


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt": "a cat"}',
        '```json\n{"prompt": "a cat"}\n```',
        'Sure! Here it is:\n{"prompt": "a cat"}\nEnjoy {braces}.',
        '<think>maybe {"prompt": "a dog"}</think>\n{"prompt": "a cat"}',
        'cut reasoning {"prompt": "a dog"}</think>{"prompt": "a cat"}',
        'I fill {"prompt"} so: {"prompt": "a cat"}',
        '{"note": 1} {"prompt": "a cat"}',
        '<think>one <think>{"prompt": "a dog"}</think> two</think>{"prompt": "a cat"}',
        '<thought id="1">{"prompt": "a dog"}</thought>{"prompt": "a cat"}',
        '[THINK]{"prompt": "a dog"}[/THINK]{"prompt": "a cat"}',
        '◁think▷{"prompt": "a dog"}◁/think▷{"prompt": "a cat"}',
        '<|channel|>analysis<|message|>{"prompt": "a dog"}<|end|><|channel|>final<|message|>{"prompt": "a cat"}',
        '{"prompt": "a cat"}\n<think>was that {"prompt": "a dog"}',
    ],
)
def test_a_prompt_is_found_in_whatever_surrounds_it(text):
    assert parse_reply(text, PromptReply).prompt == "a cat"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("<think>hm</think>", "empty"),
        ('<think>perhaps {"prompt": "a dog"}, or', "empty"),
        ('Well. <Reasoning>perhaps {"prompt": "a dog"}', "malformed"),
        ('<|channel|>analysis<|message|>perhaps {"prompt": "a dog"}', "empty"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("I cannot assist with this request.", "refused"),
        ("As an AI language model, I", "refused"),
        ("a cat, sharp focus", "malformed"),
        ('{"prompt": ', "malformed"),
        ('{"prompt": 3}', "malformed"),
        ('{"prompt": "a cat", "score": 1}', "malformed"),
        ('{"error": "rate limit"}', "malformed"),
        ('["a cat"]', "malformed"),
        ("[" * 5000, "malformed"),
        ('{"a":' * 5000, "malformed"),
    ],
)
def test_unusable_replies_are_typed_failures_without_the_raw_text(text, kind):
    with pytest.raises(AgentFailure) as caught:
        parse_reply(text, PromptReply)
    assert caught.value.kind == kind
    assert not text.strip() or text not in str(caught.value)


def test_line_breaks_inside_strings_are_fine():
    assert parse_reply('{"gradient": "one\ntwo"}', GradientReply).gradient == "one\ntwo"


@pytest.mark.parametrize(
    "text", ["a sorry sight", "I, robot", "as an aircraft lands", "we can dance", "i want a cat", "I cannot tell yet"]
)
def test_prompts_that_are_no_refusals(text):
    assert not looks_refused(text)


def test_the_other_schemas():
    assert parse_reply('{"gradient": "more light"}', GradientReply).gradient == "more light"
    assert parse_reply('{"instructions": ["a", "b"]}', InstructionsReply).instructions == ["a", "b"]


def ask_prompt(chat):
    messages = (Message("user", "go"),)
    return asyncio.run(
        ask(chat, messages, PromptReply, lambda reply: reply.prompt, sampling=Sampling(0.5, 77), replicate=3)
    )


def test_asks_once_more_with_the_reason():
    chat = ScriptedChatModel(["no json", '{"prompt": "a cat"}'])
    assert ask_prompt(chat) == "a cat"
    first, second = chat.history
    assert (first.temperature, first.max_tokens, first.replicate) == (0.5, 77, 3)
    assert first.json_schema["additionalProperties"] is False
    assert [message.role for message in second.messages] == ["user", "assistant", "user"]
    assert "malformed" in second.messages[-1].content


def test_fails_after_the_second_reply():
    chat = ScriptedChatModel(["no json", "again no json", '{"prompt": "too late"}'])
    with pytest.raises(AgentFailure, match="malformed"):
        ask_prompt(chat)
    assert len(chat.history) == 2


@pytest.mark.parametrize(
    ("finish", "kind"), [("length", "truncated"), ("content_filter", "refused"), ("refusal", "refused")]
)
def test_finish_reasons_are_failures_even_with_a_parsable_text(finish, kind):
    reply = Completion('{"prompt": "a cat"}', finish_reason=finish)
    chat = ScriptedChatModel([reply, reply])
    with pytest.raises(AgentFailure) as caught:
        ask_prompt(chat)
    assert caught.value.kind == kind
    assert [request.max_tokens for request in chat.history] == [77, 154 if kind == "truncated" else 77]

"""From a chat model's reply to checked data: schemas, tolerant extraction, one more try, then a typed failure."""

import json
import re
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.settings import Sampling
from core.errors import AgentFailure
from core.interfaces import ChatModel
from core.records import ChatRequest, Completion, Message

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_LEFT_OVER = re.compile(r"^.*</(?:think|thinking|reasoning)>", re.DOTALL | re.IGNORECASE)
_MAX_ECHO = 2000


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PromptReply(_Reply):
    """What the Generator answers."""

    prompt: str


class GradientReply(_Reply):
    """What the Gradient Calculator answers."""

    gradient: str


class InstructionsReply(_Reply):
    """What the Instruction Modifier answers."""

    instructions: list[str]


R = TypeVar("R", bound=_Reply)
T = TypeVar("T")


def parse_reply(text: str, schema: type[R]) -> R:
    """Find the one JSON object that fits the schema, also inside code fences, other text or after reasoning.

    Raises:
        AgentFailure: `empty` or `malformed`; the text of the reply is never part of the message.
    """
    body = _LEFT_OVER.sub("", _THINKING.sub("", text)).strip()
    if not body:
        raise AgentFailure("empty", "the reply is empty")
    reason = "there is no JSON object in the reply"
    decoder = json.JSONDecoder()
    position = body.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(body, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            try:
                return schema.model_validate(value)
            except ValidationError as error:
                first = error.errors(include_input=False, include_url=False)[0]
                reason = f"the JSON does not fit: {first['type']} at {'.'.join(map(str, first['loc'])) or 'top'}"
        position = body.find("{", end)
    keys = ", ".join(schema.model_fields)
    raise AgentFailure("malformed", f"{reason}; expected one JSON object with exactly: {keys}")


def read_completion(completion: Completion, schema: type[R]) -> R:
    """Parse a completion, unless it was cut short or refused.

    Raises:
        AgentFailure: `truncated`, `refused`, `empty` or `malformed`.
    """
    if completion.finish_reason == "length":
        raise AgentFailure("truncated", "the reply was cut at the token limit; answer more briefly")
    if completion.finish_reason in {"content_filter", "refusal"}:
        raise AgentFailure("refused", "the provider's content filter or the model refused to answer")
    return parse_reply(completion.text, schema)


async def ask(
    chat: ChatModel,
    messages: tuple[Message, ...],
    schema: type[R],
    check: Callable[[R], T],
    *,
    sampling: Sampling,
    replicate: int,
) -> T:
    """Ask, parse and check; a reply that cannot be used is asked for once more, with the reason.

    Args:
        chat: the model.
        messages: the filled role template.
        schema: what the reply must be.
        check: turns the parsed reply into the result, or raises AgentFailure.
        sampling: temperature and token limit.
        replicate: tells independent samples of the same messages apart.

    Raises:
        AgentFailure: the second reply was not usable either.
        ProviderError: from the chat model.
    """
    request = ChatRequest(messages, replicate, sampling.temperature, sampling.max_tokens, schema.model_json_schema())
    completion = await chat.complete(request)
    try:
        return check(read_completion(completion, schema))
    except AgentFailure as failure:
        again = _once_more(messages, completion.text, str(failure))
    request = ChatRequest(again, replicate, sampling.temperature, sampling.max_tokens, schema.model_json_schema())
    return check(read_completion(await chat.complete(request), schema))


def _once_more(messages: tuple[Message, ...], reply: str, reason: str) -> tuple[Message, ...]:
    echo = (Message("assistant", reply[:_MAX_ECHO]),) if reply.strip() else ()
    return (*messages, *echo, Message("user", f"That reply cannot be used ({reason}). Answer again, as JSON only."))

"""From a chat model's reply to checked data: schemas, tolerant extraction, one more try, then a typed failure."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.settings import Sampling
from core.errors import AgentFailure
from core.interfaces import ChatModel
from core.records import ChatRequest, Completion, Message

_NAMES = r"(?:seed:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad)"
_OPEN = rf"(?:<{_NAMES}(?:\s[^<>]*)?>|\[THINK\]|◁think▷)"
_CLOSE = rf"(?:</{_NAMES}>|\[/THINK\]|◁/think▷)"
_CLOSED = re.compile(rf"{_OPEN}(?:(?!{_OPEN}).)*?{_CLOSE}", re.DOTALL | re.IGNORECASE)
_BEFORE_CLOSE = re.compile(rf"^.*{_CLOSE}", re.DOTALL | re.IGNORECASE)
_AFTER_OPEN = re.compile(rf"{_OPEN}.*$", re.DOTALL | re.IGNORECASE)
_HARMONY = re.compile(r"^.*<\|channel\|>final<\|message\|>", re.DOTALL)
_CHANNEL = re.compile(r"<\|channel\|>(?:analysis|commentary)\b.*$", re.DOTALL)
_DECLINED = (
    r"(?:help|assist|comply|provide|create|fulfil|do that|continue|generate|write|produce|rewrite|answer|process)"
)
_REFUSAL = re.compile(
    r"\W*(?:(?:i['’]?m|i am|we['’]?re|we are) (?:very |really |so )?sorry\b|sorry,? (?:but )?i\b|my apologies\b"
    r"|as an ai\b|(?:unfortunately,? )?(?:i|we) (?:must decline|apologi[sz]e)\b|(?:unfortunately,? )?"
    r"(?:(?:i|we) (?:can(?:no|['’])t|cannot|won['’]t|will not)|(?:i['’]?m|i am) (?:unable|not able) to) "
    rf"(?:\w+ )?{_DECLINED}\b)",
    re.IGNORECASE,
)
_MAX_ECHO = 2000


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PromptReply(_Reply):
    """What the Generator answers."""

    prompt: str


class PromptsReply(PromptReply):
    """What the Generator answers where it may write a negative prompt too; "" is none."""

    negative_prompt: str = ""


class GradientReply(_Reply):
    """What the Gradient Calculator answers."""

    gradient: str


class InstructionsReply(_Reply):
    """What the Instruction Modifier answers."""

    instructions: list[str]


R = TypeVar("R", bound=_Reply)
T = TypeVar("T")


def parse_reply(text: str, schema: type[R]) -> R:
    """Find the first JSON object that fits the schema, also inside code fences, other text or after reasoning.

    Raises:
        AgentFailure: `empty`, `refused` or `malformed`; the text of the reply is never part of the message.
    """
    body = without_reasoning(text)
    if not body:
        raise AgentFailure("empty", "the reply is empty, or nothing but reasoning")
    reason = "there is no JSON object in the reply"
    decoder = json.JSONDecoder(strict=False)  # line breaks inside strings are fine
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
    if looks_refused(body):
        raise AgentFailure("refused", "the model refused to answer in its own words")
    keys = ", ".join(schema.model_fields)
    raise AgentFailure("malformed", f"{reason}; expected one JSON object with exactly: {keys}")


def without_reasoning(text: str) -> str:
    """Return the reply without reasoning: between tags, before a closing tag, and after one that is never closed."""
    text = _CHANNEL.sub("", _HARMONY.sub("", text))
    count = 1
    while count:  # inner tags first
        text, count = _CLOSED.subn("", text)
    return _AFTER_OPEN.sub("", _BEFORE_CLOSE.sub("", text)).strip()


def looks_refused(text: str) -> bool:
    """Say whether a text begins like an apology of a model that will not do what it was asked."""
    return bool(_REFUSAL.match(text))


def require_complete(completion: Completion) -> None:
    """Raise AgentFailure (`truncated`, `refused` or `empty`) for a reply whose text must not even be looked at."""
    if completion.finish_reason == "length":
        raise AgentFailure("truncated", "the reply was cut at the token limit; answer more briefly")
    if completion.finish_reason in {"content_filter", "refusal"}:
        raise AgentFailure("refused", "the provider's content filter or the model refused to answer")
    if not completion.text.strip():
        raise AgentFailure("empty", "the reply is empty")


def is_complete(completion: Completion) -> bool:
    """Say whether a reply may be kept: it was neither cut short nor refused, and is not empty."""
    try:
        require_complete(completion)
    except AgentFailure:
        return False
    return True


def read_completion(completion: Completion, schema: type[R]) -> R:
    """Parse a completion, unless it was cut short or refused.

    Raises:
        AgentFailure: `truncated`, `refused`, `empty` or `malformed`.
    """
    require_complete(completion)
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

    After one that was cut short there is twice the room: a model that reasons first may need it.

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
        room = 2 * sampling.max_tokens if failure.kind == "truncated" else sampling.max_tokens
    return check(read_completion(await chat.complete(replace(request, messages=again, max_tokens=room)), schema))


def _once_more(messages: tuple[Message, ...], reply: str, reason: str) -> tuple[Message, ...]:
    echo = (Message("assistant", reply[:_MAX_ECHO]),) if reply.strip() else ()
    return (*messages, *echo, Message("user", f"That reply cannot be used ({reason}). Answer again, as JSON only."))

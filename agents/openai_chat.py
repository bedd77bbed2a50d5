"""OpenAI's own service, and every server that speaks its protocol, through the openai package."""

import asyncio
import time
from typing import Any

from agents.limits import Gate, Limits, estimated_tokens
from agents.parameters import refused_parameter, response_format
from agents.redact import redact_values
from agents.retry import CallFailure, RetryPolicy, parse_retry_after, with_retries
from core.records import ChatRequest, Completion
from core.text import digest

_OFFICIAL_HOST = "https://api.openai.com/"
_REFUSALS = frozenset({"content_filter", "content_policy_violation"})


class OpenAIChatModel:
    """A ChatModel behind `/v1/chat/completions`. The key goes to `base_url` and nowhere else; redirects are refused.

    Replies are asked for by JSON schema; a server that refuses that (or another optional parameter) is asked without
    from then on, as long as this object lives.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str,
        retry: RetryPolicy,
        limits: Limits | None = None,
        json_schema: bool = True,
    ) -> None:
        self.name = model
        self._model = model.removeprefix("openai/")
        self._base_url = base_url
        self._api_key = api_key
        self._retry = retry
        self._official = base_url.startswith(_OFFICIAL_HOST)
        self._gate = Gate(limits or Limits())
        self._unsupported: set[str] = set() if json_schema else {"response_format"}
        self._bound: tuple[asyncio.AbstractEventLoop, Any] | None = None

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer the messages; see ChatModel."""
        endpoint = self._endpoint()
        return await with_retries(
            lambda: self._call(endpoint, request),
            policy=self._retry,
            name=self.name,
            jitter_key=digest([[message.role, message.content] for message in request.messages]),
            gate=self._gate,
            tokens=estimated_tokens(request),
        )

    def _endpoint(self) -> Any:
        """Return the chat endpoint of the running event loop's client (it does not survive its loop).

        Looking it up imports a good part of the openai package: not in a request's time.
        """
        import openai

        loop = asyncio.get_running_loop()
        if self._bound is None or self._bound[0] is not loop:
            # Organisation and project ids of the environment belong to OpenAI's own service alone.
            elsewhere: Any = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
            client = openai.AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._base_url,
                timeout=self._retry.timeout,
                max_retries=0,
                default_headers=None if self._official else elsewhere,
                http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
            )
            self._bound = (loop, client.chat.completions)
        return self._bound[1]

    async def _call(self, endpoint: Any, request: ChatRequest) -> Completion:
        import openai

        start, arguments = time.perf_counter(), self._arguments(request)
        failure: CallFailure
        try:
            return read_response(await endpoint.create(**arguments), start)
        except openai.APITimeoutError:
            failure = CallFailure(f"no answer within {self._retry.timeout:g} s")
        except openai.APIConnectionError:
            failure = CallFailure(f"no connection to {self._base_url}")
        except openai.APIStatusError as error:
            if error.status_code == 400 and error.code in _REFUSALS:
                return Completion("", seconds=time.perf_counter() - start, finish_reason="content_filter")
            refused = refused_parameter(error.status_code, getattr(error, "param", None), error.body, arguments)
            if refused:
                self._unsupported.add(refused)
            wait = parse_retry_after(error.response.headers.get("retry-after"))
            failure = CallFailure(_detail(error), status=error.status_code, retry_after=wait, without=refused or "")
        except (openai.APIError, ValueError, TypeError, LookupError, AttributeError) as error:
            failure = CallFailure(f"unreadable answer ({type(error).__name__})", status=502)
        raise failure

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        body = request_body(self._model, request, official=self._official)
        return {name: value for name, value in body.items() if name not in self._unsupported}


def request_body(model: str, request: ChatRequest, *, official: bool) -> dict[str, Any]:
    """Return what is posted to `/v1/chat/completions`.

    Args:
        model: the model's name there.
        request: what is asked.
        official: whether it goes to OpenAI's own service: newer models there refuse max_tokens; other servers often
            know nothing else.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": request.temperature,
        "seed": request.replicate,
        "max_completion_tokens" if official else "max_tokens": request.max_tokens,
    }
    if request.json_schema is not None:
        body["response_format"] = response_format(request.json_schema)
    return body


def _detail(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        return str(body.get("message") or body.get("error") or type(error).__name__)
    return type(error).__name__


def read_response(response: Any, start: float, *, usd: float | None = None) -> Completion:
    """Turn a chat completion (openai's, or litellm's in the same form) into ours, without secrets in its text."""
    choice = response.choices[0]
    usage = getattr(response, "usage", None)
    refused = bool(getattr(choice.message, "refusal", None))
    return Completion(
        text=redact_values(choice.message.content or ""),
        prompt_tokens=int(getattr(usage, "prompt_tokens", 0) or 0),
        completion_tokens=int(getattr(usage, "completion_tokens", 0) or 0),
        usd=usd,
        seconds=time.perf_counter() - start,
        finish_reason="refusal" if refused else str(choice.finish_reason or "stop"),
    )

"""OpenAI's own service, and every server that speaks its protocol, through the openai package."""

import asyncio
import time
from typing import Any

from agents.redact import redact_values
from agents.retry import CallFailure, RetryPolicy, parse_retry_after, with_retries
from core.records import ChatRequest, Completion
from core.text import digest

_OFFICIAL_HOST = "https://api.openai.com/"
_OPTIONAL = frozenset({"temperature", "response_format", "seed"})
_REFUSALS = frozenset({"content_filter", "content_policy_violation"})


class OpenAIChatModel:
    """A ChatModel behind `/v1/chat/completions`. The key goes to `base_url` and nowhere else; redirects are refused."""

    def __init__(
        self, model: str, *, base_url: str, api_key: str, retry: RetryPolicy, max_concurrency: int = 8
    ) -> None:
        self.name = model
        self._model = model.removeprefix("openai/")
        self._base_url = base_url
        self._api_key = api_key
        self._retry = retry
        self._official = base_url.startswith(_OFFICIAL_HOST)
        self._max_concurrency = max_concurrency
        self._unsupported: set[str] = set()
        self._bound: tuple[asyncio.AbstractEventLoop, Any, asyncio.Semaphore] | None = None

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer the messages; see ChatModel."""
        client, gate = self._client()
        key = digest([[message.role, message.content] for message in request.messages])
        async with gate:
            return await with_retries(
                lambda: self._call(client, request), policy=self._retry, name=self.name, jitter_key=key
            )

    def _client(self) -> tuple[Any, asyncio.Semaphore]:
        """Return the client and the semaphore of the running event loop (neither survives its loop)."""
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
            self._bound = (loop, client, asyncio.Semaphore(self._max_concurrency))
        return self._bound[1], self._bound[2]

    async def _call(self, client: Any, request: ChatRequest) -> Completion:
        import openai

        start = time.perf_counter()
        failure: CallFailure
        try:
            return _completion(await client.chat.completions.create(**self._arguments(request)), start)
        except openai.APITimeoutError:
            failure = CallFailure(f"no answer within {self._retry.timeout:g} s")
        except openai.APIConnectionError:
            failure = CallFailure(f"no connection to {self._base_url}")
        except openai.APIStatusError as error:
            parameter = getattr(error, "param", None)
            if error.status_code == 400 and error.code in _REFUSALS:
                return Completion("", seconds=time.perf_counter() - start, finish_reason="content_filter")
            if error.status_code == 400 and parameter in _OPTIONAL - self._unsupported:
                self._unsupported.add(str(parameter))
                return await self._call(client, request)
            wait = parse_retry_after(error.response.headers.get("retry-after"))
            failure = CallFailure(_detail(error), status=error.status_code, retry_after=wait)
        except (openai.APIError, ValueError, TypeError, LookupError, AttributeError) as error:
            failure = CallFailure(f"unreadable answer ({type(error).__name__})", status=502)
        raise failure

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "temperature": request.temperature,
            "seed": request.replicate,
            # Newer models of the official service refuse max_tokens; other servers often know nothing else.
            "max_completion_tokens" if self._official else "max_tokens": request.max_tokens,
        }
        if self._official and request.json_schema is not None:
            schema = {"name": "reply", "schema": dict(request.json_schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in arguments.items() if name not in self._unsupported}


def _detail(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        return str(body.get("message") or body.get("error") or type(error).__name__)
    return type(error).__name__


def _completion(response: Any, start: float) -> Completion:
    choice = response.choices[0]
    usage = response.usage
    refused = bool(getattr(choice.message, "refusal", None))
    return Completion(
        text=redact_values(choice.message.content or ""),
        prompt_tokens=int(usage.prompt_tokens or 0) if usage else 0,
        completion_tokens=int(usage.completion_tokens or 0) if usage else 0,
        usd=None,
        seconds=time.perf_counter() - start,
        finish_reason="refusal" if refused else str(choice.finish_reason or "stop"),
    )

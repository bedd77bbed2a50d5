"""Every other provider, through litellm. It is imported only here, only when asked for: it takes seconds."""

import asyncio
import os
import time
from typing import Any

from agents.redact import redact_values
from agents.retry import CallFailure, RetryPolicy, parse_retry_after, with_retries
from core.errors import BadInput
from core.records import ChatRequest, Completion
from core.text import digest


def import_litellm() -> Any:
    """Import litellm with its network traffic, its retries, its .env loading and its messages off."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # In its default mode litellm loads a .env file from the working folder: a file could then redirect keys.
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    litellm.suppress_debug_info = True
    litellm.drop_params = True
    return litellm


def check_model(model: str) -> None:
    """Raise BadInput if litellm does not know the provider or the provider's key is not in the environment."""
    litellm = import_litellm()
    try:
        litellm.get_llm_provider(model)
    except litellm.exceptions.BadRequestError:
        provider = model.partition("/")[0]
        raise BadInput(
            f"unknown provider {provider!r} in {model!r} (--llm): expected offline/, openai/, anthropic/, gemini/ or"
            " another litellm provider; for a server of your own add --api-base URL"
        ) from None
    state = litellm.validate_environment(model)
    missing = list(state.get("missing_keys") or [])
    if missing and not state.get("keys_in_environment") and all(name.endswith("_API_KEY") for name in missing):
        raise BadInput(f"{model} needs an API key: set {' or '.join(missing)} in the environment")


class LiteLLMChatModel:
    """A ChatModel through litellm, with its retries off; keys come from the environment, addresses from litellm."""

    def __init__(self, model: str, *, retry: RetryPolicy, max_concurrency: int = 8) -> None:
        self.name = model
        self._retry = retry
        self._max_concurrency = max_concurrency
        self._gate: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer the messages; see ChatModel."""
        loop = asyncio.get_running_loop()
        if self._gate is None or self._gate[0] is not loop:
            self._gate = (loop, asyncio.Semaphore(self._max_concurrency))
        key = digest([[message.role, message.content] for message in request.messages])
        async with self._gate[1]:
            return await with_retries(lambda: self._call(request), policy=self._retry, name=self.name, jitter_key=key)

    async def _call(self, request: ChatRequest) -> Completion:
        litellm = import_litellm()
        import openai

        start = time.perf_counter()
        failure: CallFailure
        try:
            response = await litellm.acompletion(
                model=self.name,
                messages=[{"role": message.role, "content": message.content} for message in request.messages],
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=request.replicate,
                timeout=self._retry.timeout,
                num_retries=0,
                max_retries=0,
            )
            return _completion(response, start)
        except litellm.exceptions.ContentPolicyViolationError:
            return Completion("", seconds=time.perf_counter() - start, finish_reason="content_filter")
        except (litellm.exceptions.APIConnectionError, litellm.exceptions.Timeout) as error:
            # Its text may hold a whole traceback; its kind says enough.
            failure = CallFailure(type(error).__name__)
        except openai.OpenAIError as error:  # the base of litellm's own errors
            failure = _failure(error)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            failure = CallFailure(f"unreadable answer ({type(error).__name__})", status=502)
        raise failure


def _failure(error: Any) -> CallFailure:
    status = getattr(error, "status_code", None)
    headers = getattr(error, "litellm_response_headers", None) or {}
    text = str(getattr(error, "message", "") or type(error).__name__)
    return CallFailure(
        text.split("Traceback", 1)[0],
        status=int(status) if isinstance(status, int | str) and str(status).isdigit() else 500,
        retry_after=parse_retry_after(headers.get("retry-after")),
    )


def _completion(response: Any, start: float) -> Completion:
    choice = response.choices[0]
    usage = getattr(response, "usage", None)
    cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")
    return Completion(
        text=redact_values(choice.message.content or ""),
        prompt_tokens=int(getattr(usage, "prompt_tokens", 0) or 0),
        completion_tokens=int(getattr(usage, "completion_tokens", 0) or 0),
        usd=float(cost) if cost is not None else None,
        seconds=time.perf_counter() - start,
        finish_reason=str(choice.finish_reason or "stop"),
    )

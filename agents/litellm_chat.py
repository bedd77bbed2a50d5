"""Every other provider, through litellm. It is imported only here, only when asked for: it takes seconds."""

import os
import time
from typing import Any

from agents.limits import Gate, Limits, estimated_tokens
from agents.openai_chat import read_response
from agents.parameters import refused_parameter, response_format
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
    """A ChatModel through litellm, with its retries off; keys come from the environment, addresses from litellm.

    Replies are asked for by JSON schema where litellm's table says that the model knows it. One thing cannot be turned
    off: a request whose connection is dropped before the answer is sent once more by litellm, unseen by us.
    """

    def __init__(
        self, model: str, *, retry: RetryPolicy, limits: Limits | None = None, json_schema: bool = True
    ) -> None:
        self.name = model
        self._retry = retry
        self._gate = Gate(limits or Limits())
        self._unsupported: set[str] = set()
        if not json_schema or not import_litellm().supports_response_schema(model=model):
            self._unsupported.add("response_format")

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer the messages; see ChatModel."""
        return await with_retries(
            lambda: self._call(request),
            policy=self._retry,
            name=self.name,
            jitter_key=digest([[message.role, message.content] for message in request.messages]),
            gate=self._gate,
            tokens=estimated_tokens(request),
        )

    async def _call(self, request: ChatRequest) -> Completion:
        litellm = import_litellm()
        import openai

        start, arguments = time.perf_counter(), self._arguments(request)
        failure: CallFailure
        try:
            response = await litellm.acompletion(
                model=self.name, timeout=self._retry.timeout, num_retries=0, max_retries=0, **arguments
            )
            cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")
            return read_response(response, start, usd=float(cost) if cost is not None else None)
        except litellm.exceptions.ContentPolicyViolationError:
            return Completion("", seconds=time.perf_counter() - start, finish_reason="content_filter")
        except (litellm.exceptions.APIConnectionError, litellm.exceptions.Timeout) as error:
            # Its text may hold a whole traceback; its kind says enough.
            failure = CallFailure(type(error).__name__)
        except openai.OpenAIError as error:  # the base of litellm's own errors
            failure = self._failure(error, arguments)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            failure = CallFailure(f"unreadable answer ({type(error).__name__})", status=502)
        raise failure

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "seed": request.replicate,
        }
        if request.json_schema is not None:
            arguments["response_format"] = response_format(request.json_schema)
        return {name: value for name, value in arguments.items() if name not in self._unsupported}

    def _failure(self, error: Any, arguments: dict[str, Any]) -> CallFailure:
        status = getattr(error, "status_code", None)
        status = int(status) if isinstance(status, int | str) and str(status).isdigit() else 500
        status = 502 if status < 300 else status  # an answer that litellm could not read
        headers = getattr(error, "litellm_response_headers", None) or {}
        text = str(getattr(error, "message", "") or type(error).__name__).split("Traceback", 1)[0]
        refused = refused_parameter(status, getattr(error, "param", None), text, arguments)
        if refused:
            self._unsupported.add(refused)
        wait = parse_retry_after(headers.get("retry-after"))
        return CallFailure(text, status=status, retry_after=wait, without=refused or "")

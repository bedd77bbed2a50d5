"""Chat models by name. The only place that decides where a message, and a key, may go."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from agents.limits import Limits
from agents.offline.model import OfflineChatModel
from agents.retry import RetryPolicy
from core.errors import BadInput
from core.interfaces import ChatModel

OFFICIAL_BASE = "https://api.openai.com/v1"


def make_chat_model(
    model: str,
    *,
    api_base: str | None = None,
    timeout: float = 60.0,
    retry: RetryPolicy | None = None,
    limits: Limits | None = None,
    json_schema: bool = True,
    environ: Mapping[str, str] | None = None,
) -> ChatModel:
    """Return the chat model called `model`.

    `offline/agents` answers by itself, without any provider or import. `openai/NAME`, and any NAME when `api_base` is
    given, goes through the openai package; every other `provider/NAME` through litellm, which is imported only then.

    Args:
        model: provider and name.
        api_base: address of an OpenAI-compatible server *that the user named on the command line*: OPENAI_API_KEY, if
            set, is sent there. Never pass an address that came with a file.
        timeout: seconds for one request; a call with its retries and pauses takes at most four times that.
        retry: the limits of patience, if the defaults (with `timeout`) do not fit.
        limits: requests in flight, requests and tokens per minute.
        json_schema: ask for replies by JSON schema where that is supported; otherwise replies are only parsed.
        environ: where keys are read from; the process environment by default.

    Raises:
        BadInput: an unknown provider or offline model, a bad address, or a missing key.
    """
    keys = os.environ if environ is None else environ
    limits = limits or Limits()
    if timeout <= 0 or min(limits.concurrency, limits.rpm or 1, limits.tpm or 1) < 1:
        raise BadInput(f"got timeout {timeout:g} and {limits}; all of them must be positive")
    # A pause as long as `total` would end the call instead of retrying it.
    retry = retry or RetryPolicy(timeout=timeout, total=4 * timeout, longest_pause=min(20.0, timeout))
    provider, _, name = model.partition("/")
    if provider == "offline":
        if model != OfflineChatModel.name:
            raise BadInput(f"unknown offline model {model!r} (--llm): expected {OfflineChatModel.name!r}")
        if api_base is not None:
            raise BadInput("offline models use no server: drop --api-base, or name the server's model with --llm")
        return OfflineChatModel()
    if not model.strip() or (not name and api_base is None):
        raise BadInput(
            f"got the model {model!r} (--llm), expected PROVIDER/NAME such as openai/gpt-4o-mini, anthropic/NAME or"
            " offline/agents; for a server of your own add --api-base URL"
        )
    if provider == "openai" or api_base is not None:
        from agents.openai_chat import OpenAIChatModel

        base = _checked_base(api_base) if api_base is not None else OFFICIAL_BASE
        key = keys.get("OPENAI_API_KEY", "")
        if not key and api_base is None:
            raise BadInput(f"{model} needs an API key: set OPENAI_API_KEY in the environment, or use --api-base URL")
        return OpenAIChatModel(model, base_url=base, api_key=key, retry=retry, limits=limits, json_schema=json_schema)
    from agents.litellm_chat import LiteLLMChatModel, check_model

    check_model(model)
    return LiteLLMChatModel(model, retry=retry, limits=limits, json_schema=json_schema)


def _checked_base(api_base: str) -> str:
    parts = urlsplit(api_base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadInput("--api-base: expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadInput(
            "--api-base: expected a plain address without user, password or query; keys go into OPENAI_API_KEY"
        )
    return api_base

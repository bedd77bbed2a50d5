"""Registers the offline agents as a litellm custom provider, so that other tools reach them as `offline/agents`."""

from typing import Any

from agents.litellm_chat import import_litellm
from agents.offline.model import OfflineChatModel
from core.records import ChatRequest, Message


def register() -> None:
    """Make `litellm.acompletion(model="offline/agents", ...)` work in this process; doing it twice changes nothing."""
    litellm = import_litellm()
    from litellm.llms.custom_llm import CustomLLM

    class OfflineProvider(CustomLLM):
        """The offline agents behind litellm's interface."""

        async def acompletion(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the handler gets keywords
            """Answer like OfflineChatModel; `seed` is the request's replicate."""
            texts = tuple(Message(str(item["role"]), str(item["content"])) for item in kwargs["messages"])
            replicate = int(kwargs["optional_params"].get("seed") or 0)
            answer = await OfflineChatModel().complete(ChatRequest(texts, replicate))
            return litellm.ModelResponse(
                choices=[
                    {"message": {"role": "assistant", "content": answer.text}, "finish_reason": "stop", "index": 0}
                ],
                model=OfflineChatModel.name,
                usage=litellm.Usage(
                    prompt_tokens=answer.prompt_tokens,
                    completion_tokens=answer.completion_tokens,
                    total_tokens=answer.prompt_tokens + answer.completion_tokens,
                ),
            )

    known = [entry for entry in litellm.custom_provider_map if entry["provider"] != "offline"]
    litellm.custom_provider_map = [*known, {"provider": "offline", "custom_handler": OfflineProvider()}]

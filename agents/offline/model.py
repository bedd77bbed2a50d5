"""The offline agents behind the ChatModel interface: they read the same messages as any LLM and know nothing else."""

import json

from agents.messages import sections
from agents.offline.generator import refine
from agents.offline.gradient import critique
from agents.offline.modifier import propose
from core.errors import ProviderError
from core.records import ChatRequest, Completion
from core.seeding import generator


class OfflineChatModel:
    """Answers by rules and statistics. Which role is asked follows from the sections of the message.

    Deterministic: the reply is a function of the messages and the request's `replicate`; chance (what to borrow) is
    drawn from the naive prompt and the replicate alone, never from how a phrase is spelled. It costs nothing.
    """

    name = "offline/agents"

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer the messages; see ChatModel."""
        texts = [message.content for message in request.messages]
        parts: dict[str, str] = {}
        for message in request.messages:
            parts = parts or (sections(message.content) if message.role == "user" else {})
        reply: dict[str, object]
        if "prompt" in parts:
            rng = generator("refine", parts["prompt"], request.replicate)
            reply = {**refine(parts, rng)}
        elif "results" in parts:
            reply = {"gradient": critique(parts)}
        elif "gradient" in parts:
            rng = generator("propose", request.replicate)
            reply = {"instructions": propose(parts, "\n".join(texts), rng)}
        else:
            raise ProviderError(
                f"{self.name} plays only the Generator, the Gradient Calculator and the Instruction Modifier, and found"
                " no section of theirs in the message; use another model (--llm) for anything else"
            )
        answer = json.dumps(reply, ensure_ascii=False)
        return Completion(answer, sum(len(text.split()) for text in texts), len(answer.split()), usd=0.0)

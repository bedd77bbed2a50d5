"""A scripted chat model: a queue of replies, a history of requests."""

from collections import deque
from collections.abc import Iterable

from core.records import ChatRequest, Completion


class ScriptedChatModel:
    """Answers with the queued texts or completions, in order."""

    name = "scripted"

    def __init__(self, replies: Iterable[str | Completion]) -> None:
        self.replies = deque(replies)
        self.history: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> Completion:
        self.history.append(request)
        reply = self.replies.popleft()
        return Completion(reply) if isinstance(reply, str) else reply

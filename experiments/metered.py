"""A chat model that reserves, looks in the cache, calls, logs and settles: the ledger's side of every LLM call."""

from dataclasses import asdict

from core.calllog import log_calls
from core.interfaces import ChatModel
from core.records import ChatRequest, Completion
from core.scope import current_scope
from core.text import digest
from prompt_db.cache_store import CacheStore
from prompt_db.ledger import Ledger


class MeteredChat:
    """Wraps a chat model; the same request and replicate is paid for once per home."""

    def __init__(self, chat: ChatModel, cache: CacheStore, ledger: Ledger, *, api_base: str | None = None) -> None:
        self._chat = chat
        self._cache = cache
        self._ledger = ledger
        self._api_base = api_base
        self.name = chat.name

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer from the cache, or call the model.

        Raises:
            BudgetReached: the cap on LLM calls would be overshot.
            ProviderError: see `ChatModel`.
        """
        charge = current_scope().next_id()
        self._ledger.reserve("llm", [charge])
        key = digest({"model": self.name, "api_base": self._api_base, **asdict(request)}, 32)
        completion = self._cache.reply(key)
        if completion is None:
            with self._ledger.busy("llm"):
                completion = await self._chat.complete(request)
            log_calls("llm", [key])
            self._cache.put_reply(key, completion)
        self._ledger.settle_llm(charge, completion)
        return completion

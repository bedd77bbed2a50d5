"""A chat model that reserves, looks in the cache, calls, logs and settles: the ledger's side of every LLM call."""

from dataclasses import asdict

from agents.replies import is_complete
from core.calllog import log_calls
from core.errors import BudgetReached, ProviderError
from core.interfaces import ChatModel
from core.pricing import CallCost, worst_case
from core.records import ChatRequest, Completion
from core.scope import current_scope, logged_requests
from core.text import digest
from prompt_db.cache_store import CacheStore
from prompt_db.ledger import Ledger


class MeteredChat:
    """Wraps a chat model; the same request and replicate is paid for once per home.

    A call is reserved at its worst case and settled at what the provider reports. A request that got no answer but may
    have been billed (no connection, 5xx) is charged as a call of its own, at its worst case, before the next one goes
    out; one that was refused (4xx) costs nothing. A call in flight at a kill is unknown, at its worst case.
    """

    def __init__(self, chat: ChatModel, cache: CacheStore, ledger: Ledger, *, api_base: str | None = None) -> None:
        self._chat = chat
        self._cache = cache
        self._ledger = ledger
        self._api_base = api_base
        self.name = chat.name

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer from the cache, or call the model.

        Raises:
            BudgetReached: a cap on LLM calls, tokens, USD or seconds would be overshot.
            ProviderError: see `ChatModel`.
        """
        charge, worst = current_scope().next_id(), worst_case(request, self._ledger.price)
        new = self._ledger.reserve("llm", [charge], worst)
        key = digest({"model": self.name, "api_base": self._api_base, **asdict(request)}, 32)
        completion = self._cache.reply(key)
        if completion is None:
            if not new:  # it was done before a kill, but its reply is not in the cache: this is another call
                charge = self._ledger.reserve_again(charge, worst)
            completion = await self._call(request, charge, worst)
            log_calls("llm", [key])
            if is_complete(completion):
                self._cache.put_reply(key, completion)
        self._ledger.settle_llm(charge, completion)
        return completion

    async def _call(self, request: ChatRequest, charge: str, worst: CallCost) -> Completion:
        def charge_what_was_lost() -> None:
            if outcomes and may_be_billed(outcomes[-1]):
                self._ledger.lose(self._ledger.reserve_again(charge, worst))

        with logged_requests(charge_what_was_lost) as outcomes:
            try:
                with self._ledger.busy("llm"):
                    return await self._chat.complete(request)
            except BudgetReached:  # no room for another request: the last one may have been billed
                self._ledger.lose(charge)
                raise
            except ProviderError:
                if outcomes and not may_be_billed(outcomes[-1]):
                    self._ledger.release(charge)
                raise
            finally:
                self._ledger.sent(charge, outcomes)


def may_be_billed(outcome: str) -> bool:
    """Say whether a request that ended so may have cost something: all but those refused with a 4xx."""
    return not outcome.startswith("4")

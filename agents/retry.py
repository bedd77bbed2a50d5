"""The one retry layer around every provider: what is retried, how long it waits, and how it gives up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from agents.redact import redact
from core.errors import ProviderError
from core.seeding import derive_seed

logger = logging.getLogger(__name__)
T = TypeVar("T")

_RETRIED = frozenset({408, 429})
_FIXES = {
    400: "check the model's name and its limits (the request itself was refused)",
    401: "check the API key in the environment",
    403: "check that this API key may use this model",
    404: "check the model's name (--llm) and the address (--api-base)",
    413: "the message is too long for this model: show fewer contrasts or examples",
}
_LONGEST_DETAIL = 200


@dataclass(frozen=True)
class RetryPolicy:
    """How patient a chat model is; seconds.

    Attributes:
        attempts: calls at most, the first included.
        timeout: longest wait for one call.
        total: longest wait for all calls of one request, pauses included.
        first_pause: pause before the second call; it doubles from call to call.
        longest_pause: cap of a pause, also of what a server's Retry-After asks for.
    """

    attempts: int = 5
    timeout: float = 60.0
    total: float = 240.0
    first_pause: float = 0.5
    longest_pause: float = 20.0


class CallFailure(Exception):
    """One failed call in a provider's own words. `status` is None when there was no answer at all."""

    def __init__(self, detail: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after

    @property
    def worth_retrying(self) -> bool:
        """True for 408, 429, 5xx and lost connections."""
        return self.status is None or self.status in _RETRIED or self.status >= 500


async def with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    name: str,
    jitter_key: str,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Call until it works.

    Args:
        call: one attempt; raises CallFailure.
        policy: limits.
        name: the model's name, for messages.
        jitter_key: spreads the pauses of concurrent requests; pauses are a function of it and the attempt.
        sleep: waits between attempts (tests hand in their own).

    Raises:
        ProviderError: refused, or not reached within the policy's limits. Its text holds no secret.
    """
    state = _State()
    try:
        return await asyncio.wait_for(_attempts(call, policy, name, jitter_key, sleep, state), policy.total)
    except _GiveUp:
        failure = state.last
    except TimeoutError:
        failure = state.last or CallFailure(f"no answer within {policy.total:g} s")
    # Raised outside the except blocks, so that no context carries the provider's own, unredacted exception.
    raise ProviderError(explain(failure or CallFailure("no answer"), name, state.calls))


class _GiveUp(Exception):
    pass


@dataclass
class _State:
    calls: int = 0
    last: CallFailure | None = None


async def _attempts(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    name: str,
    jitter_key: str,
    sleep: Callable[[float], Awaitable[None]],
    state: _State,
) -> T:
    while True:
        state.calls += 1
        try:
            return await asyncio.wait_for(call(), policy.timeout)
        except CallFailure as failure:
            state.last = failure
        except TimeoutError:
            state.last = CallFailure(f"no answer within {policy.timeout:g} s")
        if not state.last.worth_retrying or state.calls >= policy.attempts:
            raise _GiveUp
        pause = _pause(policy, state, jitter_key)
        logger.info("%s: call %d failed (%s), next in %.1f s", name, state.calls, redact(str(state.last)), pause)
        await sleep(pause)


def _pause(policy: RetryPolicy, state: _State, jitter_key: str) -> float:
    jitter = 0.5 + derive_seed(jitter_key, state.calls) / 2**32
    pause = policy.first_pause * 2 ** (state.calls - 1) * jitter
    asked = state.last.retry_after if state.last else None
    return min(max(pause, asked or 0.0), policy.longest_pause)


def explain(failure: CallFailure, name: str, calls: int) -> str:
    """Return one line: what happened, after how many calls, what to do. Secrets and line breaks are removed."""
    detail = redact(" ".join(str(failure).split()))[:_LONGEST_DETAIL]
    if failure.status is None:
        fix = "check the network and --api-base, then resume the run"
        return f"{name} did not answer after {calls} calls ({detail}); {fix}"
    if failure.worth_retrying:
        return f"{name} answered {failure.status} to {calls} calls ({detail}); wait a while, then resume the run"
    fix = _FIXES.get(failure.status, "this answer is not worth repeating: check the model and the address")
    return f"{name} answered {failure.status} ({detail}); {fix}"


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, or None for a missing one or a date."""
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None

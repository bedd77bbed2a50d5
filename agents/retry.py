"""The one retry layer around every provider: what is retried, how long it waits, and how it gives up."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agents.limits import Gate
from agents.redact import redact
from core.errors import ProviderError
from core.records import Completion
from core.scope import note_request
from core.seeding import derive_seed

logger = logging.getLogger(__name__)

_RETRIED = frozenset({408, 429})
_FIXES = {
    400: 'check the model\'s name and its limits, or set agents.json_schema = "off" (the request itself was refused)',
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
        total: longest wait for all calls of one request, pauses included; waiting for a place at our own gate is not
            counted, or a low limit per minute would make calls fail.
        first_pause: pause before the second call; it doubles from call to call.
        longest_pause: cap of a pause, also of what a server's Retry-After asks for.
    """

    attempts: int = 8
    timeout: float = 60.0
    total: float = 240.0
    first_pause: float = 0.5
    longest_pause: float = 20.0


class CallFailure(Exception):
    """One failed call in a provider's own words.

    Attributes:
        status: HTTP status, or None when there was no answer at all.
        retry_after: seconds that the provider asks to wait.
        without: the parameter that was refused and will be left out from now on: worth asking again at once.
    """

    def __init__(
        self, detail: str, *, status: int | None = None, retry_after: float | None = None, without: str = ""
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after
        self.without = without

    @property
    def outcome(self) -> str:
        """What the log of requests says."""
        what = "no answer" if self.status is None else str(self.status)
        return f"{what}, now without {self.without}" if self.without else what

    @property
    def worth_retrying(self) -> bool:
        """True for 408, 429, 5xx and lost connections."""
        return self.status is None or self.status in _RETRIED or self.status >= 500


async def with_retries(
    call: Callable[[], Awaitable[Completion]],
    *,
    policy: RetryPolicy,
    name: str,
    jitter_key: str,
    gate: Gate,
    tokens: int = 0,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Completion:
    """Call until it works.

    Args:
        call: one attempt: exactly one request to the provider; raises CallFailure.
        policy: limits of patience.
        name: the model's name, for messages.
        jitter_key: spreads the pauses of concurrent requests; pauses are a function of it and the attempt.
        gate: what every attempt passes; pauses are made outside it.
        tokens: about how many tokens an attempt costs.
        sleep: waits between attempts (tests hand in their own).

    Raises:
        ProviderError: refused, or not reached within the policy's limits. Its text holds no secret.
    """
    state = _State()
    while True:
        try:
            async with gate.slot(tokens) as turn:
                answer = await _attempt(call, policy, state)
                turn.used(answer.prompt_tokens + answer.completion_tokens)
                return answer
        except CallFailure as found:
            failure = found
        if failure.without:
            continue
        if not failure.worth_retrying or state.calls >= policy.attempts:
            break
        pause = _pause(policy, state.calls, failure.retry_after, jitter_key)
        if state.spent + pause >= policy.total:
            break
        logger.info("%s: call %d failed (%s), next in %.1f s", name, state.calls, redact(str(failure)), pause)
        await sleep(pause)
        state.spent += pause
    # Raised outside the except block, so that no context carries the provider's own, unredacted exception.
    raise ProviderError(explain(failure, name, state.calls))


@dataclass
class _State:
    """Attempts that counted, and seconds spent on attempts and pauses."""

    calls: int = 0
    spent: float = 0.0


async def _attempt(call: Callable[[], Awaitable[Completion]], policy: RetryPolicy, state: _State) -> Completion:
    """Make one request, note it and how it ended, and count its time."""
    ended, start = note_request(), time.monotonic()
    limit = min(policy.timeout, policy.total - state.spent)
    try:
        answer = await asyncio.wait_for(call(), limit)
    except CallFailure as found:
        failure = found
    except TimeoutError:
        failure = CallFailure(f"no answer within {limit:.2g} s")
    else:
        ended("ok" if answer.finish_reason == "stop" else answer.finish_reason)
        return answer
    finally:
        state.spent += time.monotonic() - start
    ended(failure.outcome)
    if not failure.without:
        state.calls += 1
    raise failure


def _pause(policy: RetryPolicy, calls: int, asked: float | None, jitter_key: str) -> float:
    jitter = 0.5 + derive_seed(jitter_key, calls) / 2**32
    pause = policy.first_pause * 2 ** (calls - 1) * jitter
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


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header (a number or an HTTP date), None if there is none."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())

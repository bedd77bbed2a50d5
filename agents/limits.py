"""How much may go to a provider at once and in a minute."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.records import ChatRequest

WINDOW = 60.0
_CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Limits:
    """Limits of one chat model.

    Attributes:
        concurrency: requests in flight at most.
        rpm: requests in any 60 seconds, retries included; None is no limit.
        tpm: tokens in any 60 seconds, sent and received; None is no limit.
    """

    concurrency: int = 8
    rpm: int | None = None
    tpm: int | None = None


@dataclass
class Turn:
    """When a request may go (the clock's seconds), and what it counts in tokens: an estimate until it is answered."""

    at: float
    tokens: int

    def used(self, tokens: int) -> None:
        """Replace the estimate by what the provider counted (0 = it did not say)."""
        self.tokens = tokens or self.tokens


class SlidingWindow:
    """Hands out turns in order so that no 60 seconds hold more than the limits. Pure: the time is an argument.

    A request that alone is over `tpm` gets a window of its own instead of waiting for ever.
    """

    def __init__(self, rpm: int | None, tpm: int | None) -> None:
        self._rpm = rpm
        self._tpm = tpm
        self._turns: deque[Turn] = deque()

    def reserve(self, now: float, tokens: int) -> Turn:
        """Return the next free turn, at `now` or later."""
        while self._turns and self._turns[0].at <= now - WINDOW:
            self._turns.popleft()
        at = max(now, self._turns[-1].at) if self._turns else now
        recent = [turn for turn in self._turns if turn.at > at - WINDOW]
        while recent and not self._fits(recent, tokens):
            at = recent[0].at + WINDOW
            recent = [turn for turn in recent if turn.at > at - WINDOW]
        turn = Turn(at, tokens)
        if self._rpm is not None or self._tpm is not None:
            self._turns.append(turn)
        return turn

    def give_back(self, turn: Turn) -> None:
        """Forget a turn whose request was never sent."""
        self._turns = deque(other for other in self._turns if other is not turn)

    def _fits(self, recent: list[Turn], tokens: int) -> bool:
        if self._rpm is not None and len(recent) >= self._rpm:
            return False
        return self._tpm is None or sum(turn.tokens for turn in recent) + tokens <= self._tpm


class Gate:
    """What every request passes: our own semaphore, then the limits per minute.

    A slot is held while a request waits for its turn or is in flight, never during a pause between two attempts: a call
    that was told to wait must not keep others from going.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limits = limits
        self._window = SlidingWindow(limits.rpm, limits.tpm)
        self._clock = clock
        self._sleep = sleep
        self._bound: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[Turn]:
        """Wait until one more request of about `tokens` may go, and hold its place until it has ended."""
        async with self._semaphore():
            now = self._clock()
            turn = self._window.reserve(now, tokens)
            if turn.at > now:
                try:
                    await self._sleep(turn.at - now)
                except asyncio.CancelledError:
                    self._window.give_back(turn)
                    raise
            yield turn

    def _semaphore(self) -> asyncio.Semaphore:
        """Return the semaphore of the running event loop (it does not survive its loop)."""
        loop = asyncio.get_running_loop()
        if self._bound is None or self._bound[0] is not loop:
            self._bound = (loop, asyncio.Semaphore(self._limits.concurrency))
        return self._bound[1]


def estimated_tokens(request: ChatRequest) -> int:
    """Return about how many tokens a request may cost at most: its text, and as long a reply as it allows."""
    return sum(len(message.content) for message in request.messages) // _CHARACTERS_A_TOKEN + request.max_tokens

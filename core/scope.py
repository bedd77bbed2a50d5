"""Which piece of work an LLM call belongs to, so that its charge is a function of the work and not of the attempt.

And what was really sent for it: one entry a request, retries included.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class CallScope:
    """The work in hand and how many calls it has made."""

    work: str
    calls: int = 0

    def next_id(self) -> str:
        """Return the id of the work's next call."""
        self.calls += 1
        return f"llm:{self.work}:{self.calls}"


_CURRENT: ContextVar[CallScope | None] = ContextVar("brushup_call_scope", default=None)


@contextmanager
def call_scope(work: str) -> Iterator[None]:
    """Attribute the LLM calls made inside to `work`."""
    token = _CURRENT.set(CallScope(work))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_scope() -> CallScope:
    """Return the scope in force.

    Raises:
        LookupError: an LLM was called outside any scope, so the call cannot be charged to anything.
    """
    scope = _CURRENT.get()
    if scope is None:
        raise LookupError("an LLM call was made outside call_scope()")
    return scope


_REQUESTS: ContextVar[list[str] | None] = ContextVar("brushup_requests", default=None)
_BEFORE: ContextVar[Callable[[], None] | None] = ContextVar("brushup_before_request", default=None)


@contextmanager
def logged_requests(before: Callable[[], None] | None = None) -> Iterator[list[str]]:
    """Collect the outcome of every request that is sent to a provider inside, in order.

    Args:
        before: called before each request goes out; what it raises keeps the request from being sent.
    """
    outcomes: list[str] = []
    token, hook = _REQUESTS.set(outcomes), _BEFORE.set(before)
    try:
        yield outcomes
    finally:
        _REQUESTS.reset(token)
        _BEFORE.reset(hook)


def note_request() -> Callable[[str], None]:
    """Note that a request goes out now; return the function that says how it ended ("cut off" if it is never told)."""
    outcomes = _REQUESTS.get()
    if outcomes is None:
        return lambda outcome: None  # noqa: ARG005 - nobody listens
    before = _BEFORE.get()
    if before is not None:
        before()
    place = len(outcomes)
    outcomes.append("cut off")
    return lambda outcome: outcomes.__setitem__(place, outcome)

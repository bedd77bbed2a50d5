"""Errors that a user sees: one line saying what was got, what was expected and what to do.

The command line prints `str(error)` and leaves with `error.exit_code`; a traceback means a bug.
"""


class BrushupError(Exception):
    """Base of all expected errors."""

    exit_code = 2


class BadInput(BrushupError):
    """The user's input (flag, file, config, folder) cannot be used; nothing was changed."""


class BudgetReached(BrushupError):
    """A cap of the ledger would be overshot by the next piece of work."""

    exit_code = 3


class Interrupted(BrushupError):
    """The user stopped the run between two steps; it can be resumed."""

    exit_code = 130


class ProviderError(BrushupError):
    """An LLM provider refused or stayed unreachable after all retries; nothing of the run is lost."""


class AgentFailure(Exception):
    """One agent reply could not be used. It is recorded as data and never becomes a prompt or a score.

    Attributes:
        kind: one of `malformed`, `empty`, `truncated`, `refused`, `lost-subject`, `too-long`, `leak`, `provider`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind

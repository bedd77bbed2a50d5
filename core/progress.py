"""Progress through one small protocol, so that no package but `cli` prints."""

from typing import Protocol


class Progress(Protocol):
    """Receives what a run is doing."""

    def advance(self, done: int, total: int, doing: str) -> None:
        """Say that `done` of about `total` renders are made and what happens now."""
        ...

    def note(self, text: str) -> None:
        """Say something worth a line: a new best instruction, a stop, a warning."""
        ...


class Silent:
    """Progress that goes nowhere."""

    def advance(self, done: int, total: int, doing: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

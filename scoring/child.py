"""A program in a Python of its own that answers each line of JSON with one: packages whose pins cannot be ours."""

import contextlib
import json
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from core.text import one_line


class ChildFailed(Exception):
    """The program did not start, ended, or answered something else than JSON; the text is what it said last."""


class Child:
    """A running program. It ends when this object goes, and with this process."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the object)
        try:
            process = subprocess.Popen(  # noqa: S603  (a program of ours, in the Python that the user named)
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                encoding="utf-8",
            )
        except OSError as error:
            raise ChildFailed(f"{command[0]} does not start: {one_line(error)}") from error
        self._process = process
        self.close = weakref.finalize(self, _end, process)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            ChildFailed: there is none.
        """
        assert self._process.stdin is not None  # noqa: S101  (for the type checker)
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            self.close()
            raise ChildFailed(self._last_line() or "it ended without a word") from error
        return dict(answer)

    def _last_line(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        return one_line(next((line for line in reversed(lines) if line.strip()), ""))


def _end(process: "subprocess.Popen[str]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

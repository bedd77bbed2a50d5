"""Keeping two processes out of each other's way."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path, taken: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there; it goes with the process, however that ends.

    Where the system has no such locks (Windows), nothing is locked.

    Args:
        file: in a folder that is there.
        taken: called while another process holds the lock; unless it raises, this one then waits.

    Raises:
        OSError: the file cannot be opened or locked.
    """
    with file.open("w") as handle:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""A lock is held by one, waited for by others, and goes with its process."""

import threading
import time
from pathlib import Path

import pytest

from core.errors import BadInput
from core.locks import locked


def nobody() -> None:
    raise AssertionError("the lock was free")


def refuse() -> None:
    raise BadInput("taken")


def test_a_second_one_is_refused_or_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / ".lock", lambda: order.append("waits")):
            order.append("second")

    other = threading.Thread(target=second)
    with locked(tmp_path / ".lock", nobody):
        with pytest.raises(BadInput, match="taken"), locked(tmp_path / ".lock", refuse):
            pass
        other.start()
        while not order:
            time.sleep(0.001)
        order.append("first")
    other.join()
    assert order == ["waits", "first", "second"]


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / ".lock", nobody):
        raise ZeroDivisionError
    with locked(tmp_path / ".lock", nobody):
        pass

"""The call log: with BRUSHUP_CALL_LOG=FILE every real (uncached) call appends one fsynced JSON line per item."""

import json
import os
from collections.abc import Iterable


def log_calls(kind: str, keys: Iterable[str]) -> None:
    """Append `{"kind": kind, "key": key}` per key; `kind` is `render`, `score` or `llm`. No-op without the variable."""
    path = os.environ.get("BRUSHUP_CALL_LOG")
    if not path:
        return
    lines = "".join(json.dumps({"kind": kind, "key": key}) + "\n" for key in keys)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, lines.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What `make peers` says of pictures: medians, paired ratios, tables, and whether a run again has the same count."""

from collections.abc import Mapping
from typing import Any

import numpy as np

DRAWS = 1000


def summary(theirs: np.ndarray, ours: np.ndarray, limit: int) -> dict[str, Any]:
    """Return the median pictures, the median paired ratio with its bootstrap interval, and how many were stopped.

    Args:
        theirs: pictures to the target by world; NaN where the method was stopped, which counts as `limit`.
        ours: those of our loop in the same worlds.
        limit: pictures at which a method is stopped.
    """
    ratios = np.nan_to_num(theirs, nan=limit) / np.nan_to_num(ours, nan=limit)
    drawn = np.median(np.random.default_rng(0).choice(ratios, (DRAWS, len(ratios))), axis=1)
    return {
        "renders_to_target": float(np.median(np.nan_to_num(theirs, nan=limit))),
        "over_ours": float(np.median(ratios)),
        "ci95": np.percentile(drawn, [2.5, 97.5]).tolist(),
        "censored": int(np.isnan(theirs).sum()),
    }


def show(title: str, rows: dict[str, dict[str, Any]], limit: int) -> None:
    """Print a table, the fewest pictures first."""
    print(f"\n{title}")
    for name, found in sorted(rows.items(), key=lambda item: item[1]["renders_to_target"] or np.inf):
        print(f"  {name:48s}" + _shown(found, limit))


def _shown(row: dict[str, Any], limit: int) -> str:
    if row["renders_to_target"] is None:
        return "not reached"
    low, high = row["ci95"]
    stopped = f"  ({int(row['censored'])} stopped at {limit}: a lower bound)" if row["censored"] else ""
    return f"{row['renders_to_target']:7.0f}  {row['over_ours']:5.2f}x ours [{low:.2f}, {high:.2f}]{stopped}"


def differences(again: Mapping[str, int | None], stored: Mapping[str, int | None]) -> int:
    """Print each run's count beside the file's; return 1 if any differs, else 0.

    No tolerance: threads and chunks are fixed. Another processor or torch may round a score differently, and if a
    choice hangs on it, the counts differ; the versions that the file was made with are in it.
    """
    for name, count in again.items():
        verdict = "as in the file" if count == stored[name] else f"DIFFERS from the file's {stored[name]}"
        print(f"spot check, {name}: {count} pictures, {verdict}")
    return int(dict(again) != dict(stored))

"""What a result says, in words and numbers for a person: one wording for the command line and the reports.

Importing this module costs nothing.
"""

from collections.abc import Mapping
from typing import Any

SCALE = 100
"""HPSv2's scores are shown x 100, as its papers do; files hold raw values."""


def scale_of(scorer: str) -> int:
    """Return the factor by which a scorer's numbers are shown: 100 for HPSv2, 1 for all others."""
    return SCALE if scorer.startswith("hpsv2") else 1


def verdict(summary: Mapping[str, Any]) -> str:
    """Say in one plain sentence what the test showed, no more than its interval allows."""
    holdout = summary["holdout"]
    scale = scale_of(holdout["scorer"])
    difference = holdout["best_minus_naive"]
    mean, (low, high), n = difference["mean"], difference["ci95"], difference["n"]
    half = scale * (high - low) / 2
    if low > 0:
        text = f"better than your prompts by {scale * mean:.2f} ± {half:.2f} on {n} unseen prompts"
    elif high < 0:
        text = f"worse than your prompts by {-scale * mean:.2f} ± {half:.2f} on {n} unseen prompts: keep yours"
    else:
        text = (
            f"cannot tell yet: {scale * mean:+.2f} ± {half:.2f} on {n} unseen prompts; more rounds or prompts may tell"
        )
    truth = summary.get("ground_truth")
    if truth:
        low, high = truth["best_minus_naive"]["ci95"]
        word = "agrees" if (low > 0) == (difference["ci95"][0] > 0) else "does not agree"
        text += (
            f"\nthe miniworld's ground truth {word}: {truth['best_minus_naive']['mean']:+.2f} [{low:+.2f}, {high:+.2f}]"
        )
    return text


def tested_on(holdout: Mapping[str, Any]) -> str:
    """Say what the test's numbers are: prompts, seeds, scorer and its scale."""
    scale = scale_of(holdout["scorer"])
    shown = holdout["scorer"] if scale == 1 else f"{holdout['scorer']} x {scale}"
    return f"{holdout['prompts']} unseen prompts x {holdout['seeds']} seeds, {shown}"


def cost_line(ledger: Mapping[str, Any]) -> str:
    """Say in one plain line what a run cost; unknown is said to be unknown."""
    cached = f" ({ledger['renders_cached']:,} from the cache)" if ledger["renders_cached"] else ""
    recalled = f" ({ledger['llm_calls_cached']:,} from the cache)" if ledger["llm_calls_cached"] else ""
    tokens = ledger.get("llm_tokens", ledger["prompt_tokens"] + ledger["completion_tokens"])
    seconds = ledger["startup_seconds"] + ledger["loop_seconds"]
    parts = [
        f"{ledger['renders']:,} pictures{cached}",
        f"{ledger['llm_calls']:,} LLM calls{recalled}",
        f"{tokens:,} tokens" + (" (partly estimated)" if ledger.get("llm_calls_estimated") else ""),
        "USD unknown" if ledger["usd"] is None else dollars(ledger["usd"]),
        f"{seconds:,.0f} s",
    ]
    unknown = ledger.get("unknown") or {}
    names = {"render": "pictures", "llm": "LLM calls", "score": "scores"}
    lost = [f"{unknown[kind]} {name}" for kind, name in names.items() if kind in unknown]
    return "cost: " + ", ".join(parts) + (f"; and at most {', '.join(lost)} cut off by a kill" if lost else "")


def dollars(usd: float) -> str:
    """Return an amount in cents, or as precisely as it takes to be more than nothing."""
    return f"${usd:,.2f}" if usd >= 0.01 or not usd else f"${usd:.2g}"

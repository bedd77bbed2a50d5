"""What the command line shows: JSON on stdout, all else on stderr."""

import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

SCALE = 100
"""HPSv2's scores are shown x 100, as its papers do; files hold raw values."""

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print one line for a person."""
    console.print(text, markup=False, soft_wrap=True)


def emit(value: Any) -> None:
    """Print a result as JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


class Bar:
    """Progress as one line that is rewritten on a terminal, and as a line every ten seconds elsewhere."""

    def __init__(self, expected: int, *, quiet: bool = False) -> None:
        self._expected = max(1, expected)
        self._quiet = quiet
        self._started = time.monotonic()
        self._shown = -math.inf if console.is_terminal else self._started
        self._open = False

    def advance(self, done: int, total: int, doing: str) -> None:
        """Show how many renders are made of about how many."""
        if self._quiet:
            return
        now, live = time.monotonic(), console.is_terminal
        if now - self._shown < (0.1 if live else 10):
            return
        self._shown = now
        share = min(1.0, done / max(self._expected, total))
        blocks = math.floor(share * 24)
        line = f"[{'#' * blocks}{'.' * (24 - blocks)}] {done} of about {max(self._expected, total)} pictures"
        line += f"  {now - self._started:.0f} s  {doing}"
        if live:
            sys.stderr.write("\r\x1b[2K" + line[: console.width - 1])
            sys.stderr.flush()
            self._open = True
        else:
            say(line)

    def note(self, text: str) -> None:
        """Print a line of its own."""
        if self._quiet:
            return
        self.close()
        say(text)

    def close(self) -> None:
        """End the line being rewritten."""
        if self._open:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
            self._open = False


def show_summary(summary: Mapping[str, Any]) -> None:
    """Print the final table, the verdict, and where the results are."""
    holdout = summary["holdout"]
    scale = scale_of(holdout["scorer"])
    shown = holdout["scorer"] if scale == 1 else f"{holdout['scorer']} x {scale}"
    title = f"{holdout['prompts']} unseen prompts x {holdout['seeds']} seeds, {shown}"
    table = Table(title=title, title_justify="left")
    for heading in ("prompts written by", "mean score", "best minus this", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "prompts written by" else "right")
    names = {"naive": "you (naive)", "initial": "initial instruction", "frequent": "5 most frequent phrases"}
    for key, name in names.items():
        difference = holdout[f"best_minus_{key}"]
        low, high = difference["ci95"]
        table.add_row(
            name,
            f"{scale * holdout[key]['mean']:.2f}",
            f"{scale * difference['mean']:+.2f}",
            f"[{scale * low:+.2f}, {scale * high:+.2f}]",
            end_section=key == "frequent",
        )
    table.add_row(
        f"best instruction ({summary['best_instruction']['id']})", f"{scale * holdout['best']['mean']:.2f}", "", ""
    )
    console.print(table)
    show_watched(summary)
    say(verdict(summary))
    for warning in summary["warnings"]:
        say(f"warning: {warning}")
    say(f"best instruction: {summary['best_instruction']['text']}")
    say(cost_line(summary["ledger"]))


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


def show_forecast(plan: Mapping[str, Any]) -> None:
    """Print what a run would take, expected and at worst, beside its caps."""
    table = Table(title="what this run takes", title_justify="left")
    for heading in ("", "expected", "at worst", "cap"):
        table.add_column(heading, justify="right" if heading else "left")
    names = {"renders": "pictures", "scores": "scores", "llm_calls": "LLM calls", "llm_tokens": "tokens"}
    for key in ("renders", "scores", "llm_calls", "llm_tokens", "usd", "seconds"):
        amounts = [plan["expected"][key], plan["worst"][key], plan["caps"].get(f"max_{key}")]
        shown = ["" if amount is None and place == 2 else _amount(key, amount) for place, amount in enumerate(amounts)]
        table.add_row(names.get(key, "USD" if key == "usd" else key), *shown)
    console.print(table)
    say("two probe pictures were drawn and thrown away, no LLM was called, no run was created")
    say("expected: 4 bytes a token, replies of a quarter of their limit; at worst: 1 byte a token, all asked for twice")
    if plan["price"] is None:
        say("USD is unknown: give --price-in and --price-out (USD per million tokens)")
    if plan["refused"]:
        say(f"this run would be refused: {plan['refused']}")


def _amount(key: str, amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return dollars(amount) if key == "usd" else f"{amount:,.0f}"


def show_watched(summary: Mapping[str, Any]) -> None:
    """Print what the watched scorers say of the test, if there are any."""
    if not summary.get("watched"):
        return
    table = Table(title="watched, and without influence", title_justify="left")
    for heading in ("scorer", "naive -> best", "difference", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "scorer" else "right")
    for name, found in summary["watched"].items():
        factor = scale_of(name)
        difference = found["best_minus_naive"]
        low, high = difference["ci95"]
        table.add_row(
            name if factor == 1 else f"{name} x {factor}",
            f"{factor * found['naive']['mean']:.2f} -> {factor * found['best']['mean']:.2f}",
            f"{factor * difference['mean']:+.2f}",
            f"[{factor * low:+.2f}, {factor * high:+.2f}]",
        )
    console.print(table)


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

"""What the command line shows: JSON on stdout, all else on stderr."""

import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.verdict import cost_line, dollars, scale_of, tested_on, verdict

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

    def __init__(self, expected: int, *, quiet: bool = False, of: str = "pictures") -> None:
        self._expected = max(1, expected)
        self._quiet = quiet
        self._of = of
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
        line = f"[{'#' * blocks}{'.' * (24 - blocks)}] {done} of about {max(self._expected, total)} {self._of}"
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
    table = Table(title=tested_on(holdout), title_justify="left")
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
    if len(summary.get("by_group") or {}) > 1:
        gains = (f"{group} {scale * gain['mean']:+.2f}" for group, gain in summary["by_group"].items())
        say(f"best minus naive by category: {', '.join(gains)}")
    for warning in summary["warnings"]:
        say(f"warning: {warning}")
    say(f"best instruction: {summary['best_instruction']['text']}")
    say(cost_line(summary["ledger"]))


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

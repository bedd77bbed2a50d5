"""Which results the Gradient Calculator is shown, and how they read. Pure."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.messages import one_line
from core.records import NAIVE, ScoredPrompt

_GROUP = re.compile(r"^block \d+, naive prompt: (.*)$")
_LINE = re.compile(r"^ *([+-]?[0-9.]+(?:e[+-]?\d+)?) \| (this|other|naive) \| (.*?)(?: \|not\| (.*))?$")
_LEGEND = "After |not| stands the negative prompt: what the picture must not show."


@dataclass(frozen=True)
class Contrast:
    """Two results of which the first is at least as good; `within` when both are of one block."""

    better: ScoredPrompt
    worse: ScoredPrompt
    within: bool

    @property
    def gap(self) -> float:
        """Difference of the paired rewards, never negative."""
        return self.better.reward - self.worse.reward


def select_contrasts(scored: Sequence[ScoredPrompt], arm: str, limit: int) -> list[Contrast]:
    """Choose at most `limit` contrasts, the most telling first (2406.08713, section 3.1, made fair by blocks).

    First the arm's results against others on the same block (the naive prompt, whose paired reward is 0, and other
    arms), widest gap first; then the arm's best against its worst across blocks; then what other arms did on blocks
    that this arm has not met, against naive. A batch of one works: it is contrasted with naive. Results without a
    finite reward are left out.
    """
    blocks: dict[str, dict[str, ScoredPrompt]] = {}
    for item in scored:
        if math.isfinite(item.reward):
            row = blocks.setdefault(item.block, {NAIVE: ScoredPrompt(item.naive, item.naive, 0.0, NAIVE, item.block)})
            row.setdefault(item.arm, item)
    own = [row[arm] for row in blocks.values() if arm in row]
    within = [_contrast(row[arm], other) for row in blocks.values() if arm in row for other in _others(row, arm)]
    ranked = sorted(own, key=lambda item: -item.reward)
    across = [_contrast(best, worst) for best, worst in zip(ranked, reversed(ranked), strict=True)][: len(ranked) // 2]
    rest = [
        _contrast(other, row[NAIVE])
        for row in blocks.values()
        for other in _others(row, arm)
        if other.arm != NAIVE and (arm not in row or arm == NAIVE)
    ]
    chosen = [*_widest(within), *_widest(across), *_widest(rest)]
    return chosen[: max(limit, 0)]


def _others(row: dict[str, ScoredPrompt], arm: str) -> Iterable[ScoredPrompt]:
    return (item for name, item in row.items() if name != arm)


def _contrast(one: ScoredPrompt, two: ScoredPrompt) -> Contrast:
    better, worse = (one, two) if one.reward >= two.reward else (two, one)
    return Contrast(better, worse, within=one.block == two.block)


def _widest(contrasts: Iterable[Contrast]) -> list[Contrast]:
    return sorted(contrasts, key=lambda contrast: -contrast.gap)


def write_results(contrasts: Sequence[Contrast], arm: str) -> str:
    """Write the results of the contrasts grouped by block, best first, each once."""
    blocks: dict[str, dict[str, ScoredPrompt]] = {}
    for contrast in contrasts:
        for item in (contrast.better, contrast.worse):
            blocks.setdefault(item.block, {})[item.arm] = item
    lines: list[str] = []
    for number, row in enumerate(blocks.values(), start=1):
        items = sorted(row.values(), key=lambda item: -item.reward)
        lines.append(f"block {number}, naive prompt: {one_line(items[0].naive)}")
        for item in items:
            who = "this" if item.arm == arm else "naive" if item.arm == NAIVE else "other"
            forbidden = f" |not| {one_line(item.negative)}" if item.negative else ""
            lines.append(f"  {item.reward:+.5g} | {who} | {one_line(item.refined)}{forbidden}")
    legend = [_LEGEND] if any(c.better.negative or c.worse.negative for c in contrasts) else []
    return "\n".join([*legend, *lines])


@dataclass(frozen=True)
class Result:
    """One line of the results as a reader of the message sees it. `block` is the group's number in the message."""

    naive: str
    refined: str
    reward: float
    who: str
    block: int
    negative: str = ""


def read_results(text: str) -> list[Result]:
    """Read what `write_results` wrote; lines of another form are skipped."""
    results: list[Result] = []
    naive, block = "", 0
    for line in text.splitlines():
        if group := _GROUP.match(line):
            naive, block = group.group(1), block + 1
        elif (found := _LINE.match(line)) and naive:
            reward, who, refined, negative = found.groups(default="")
            results.append(Result(naive, refined, float(reward), who, block, negative))
    return results

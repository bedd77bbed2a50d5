"""Signs of an unhealthy loop (2406.08713, failure signatures): stagnation, degradation, high variance.

One rule each, over the loop's facts; all are pure functions of numbers, so that a test can provoke each.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from core.interfaces import Table
from core.records import Instruction

PATIENCE = 2
"""Expansions in a row that bring nothing before the loop is called stagnant."""
NOISE_RATIO = 3.0
"""Spread of block rewards within an instruction, in units of the best mean reward, that counts as high variance."""


@dataclass(frozen=True)
class LoopHistory:
    """What the rules look at.

    Attributes:
        round_rewards: the block rewards of all pulls of each round, by round, in order.
        arm_rewards: the block rewards of each arm.
        born: the round in which each arm was born (0 = there from the start).
    """

    round_rewards: Sequence[Sequence[float]]
    arm_rewards: Mapping[str, Sequence[float]]
    born: Mapping[str, int]


def history_of(table: Table, pulls: Iterable[Mapping[str, Any]], instructions: Iterable[Instruction]) -> LoopHistory:
    """Return what the rules look at.

    Args:
        table: block rewards by arm.
        pulls: the closed pulls (round, arm, batch), in order.
        instructions: every one ever born.
    """
    rounds: dict[int, list[float]] = {}
    for row in pulls:
        batch = f"train/{row['batch']}."
        rewards = [value for block, value in sorted(table[row["arm"]].items()) if block.startswith(batch)]
        rounds.setdefault(row["round"], []).extend(rewards)
    return LoopHistory(
        round_rewards=[rounds[number] for number in sorted(rounds)],
        arm_rewards={arm: list(row.values()) for arm, row in table.items()},
        born={i.id: i.round for i in instructions},
    )


def warnings(history: LoopHistory) -> list[str]:
    """Return one plain sentence for each rule that fires."""
    found = (stagnation(history), degradation(history), high_variance(history))
    return [text for text in found if text]


def stagnation(history: LoopHistory) -> str:
    """Fire when no arm born in the last two expansions has a better mean reward than the best older arm."""
    means = {arm: fmean(rewards) for arm, rewards in history.arm_rewards.items() if rewards}
    rounds = sorted({history.born[arm] for arm in means if history.born[arm] > 0})
    if len(rounds) < PATIENCE:
        return ""
    recent = {arm for arm in means if history.born[arm] in rounds[-PATIENCE:]}
    older = [means[arm] for arm in means if arm not in recent]
    if not older or max(means[arm] for arm in recent) > max(older):
        return ""
    return (
        f"stagnation: the last {PATIENCE} expansions brought no instruction better than an older one; "
        "try more children, more exemplars or another LLM"
    )


def degradation(history: LoopHistory) -> str:
    """Fire when the last round's mean reward lies more than two standard errors below the first round's."""
    rounds = [list(rewards) for rewards in history.round_rewards if len(rewards) >= 2]
    if len(rounds) < 2:
        return ""
    first, last = rounds[0], rounds[-1]
    error = math.sqrt(stdev(first) ** 2 / len(first) + stdev(last) ** 2 / len(last))
    drop = fmean(first) - fmean(last)
    if drop <= 2 * error or drop <= 0:
        return ""
    return (
        f"degradation: the last round's mean reward is {drop:.4f} below the first's (standard error {error:.4f}); "
        "the textual gradients may mislead: look at them with `brushup show`"
    )


def high_variance(history: LoopHistory) -> str:
    """Fire when block rewards within arms spread more than three times the best arm's mean reward."""
    usable = {arm: list(rewards) for arm, rewards in history.arm_rewards.items() if len(rewards) >= 2}
    if not usable:
        return ""
    freedom = sum(len(rewards) - 1 for rewards in usable.values())
    spread = math.sqrt(sum((len(r) - 1) * stdev(r) ** 2 for r in usable.values()) / freedom)
    best = max(fmean(rewards) for rewards in usable.values())
    if spread <= NOISE_RATIO * abs(best):
        return ""
    return (
        f"high variance: rewards within one instruction spread by {spread:.4f}, the best mean is {best:.4f}; "
        "use a larger batch size or more rounds before trusting the order of instructions"
    )


def falling_scorers(optimised: Mapping[str, Any], watched: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a warning for each watched scorer that falls from naive to best while the optimised one rises.

    Both must be clear of zero: their 95 % intervals over prompts.

    Args:
        optimised: the test's comparison by the optimised scorer, with `best_minus_naive`.
        watched: the same by each watched scorer.
    """
    if optimised["best_minus_naive"]["ci95"][0] <= 0:
        return []
    return [
        f"watched: {name} falls by {-found['best_minus_naive']['mean']:.3f} while the optimised scorer rises; "
        "look at the pictures: the optimised scorer may be fooled"
        for name, found in watched.items()
        if found["best_minus_naive"]["ci95"][1] < 0
    ]

"""Paired differences over prompts, in one way for the summary and for the reports."""

from collections.abc import Mapping

from bandit.bootstrap import bootstrap_mean
from core.records import Estimate

Scores = Mapping[str, float]
"""One arm's values by block id."""


def lead(ours: Scores, theirs: Scores) -> dict[str, float]:
    """Return ours - theirs on every block that both have met."""
    return {block: value - theirs[block] for block, value in ours.items() if block in theirs}


def by_prompt(values: Scores, prompt_of: Mapping[str, str]) -> dict[str, list[float]]:
    """Return the values of each prompt, in the order of their blocks' ids."""
    grouped: dict[str, list[float]] = {}
    for block, value in sorted(values.items()):
        grouped.setdefault(prompt_of[block], []).append(value)
    return grouped


def estimate(values: Scores, prompt_of: Mapping[str, str], seed: int) -> Estimate | None:
    """Return the mean over prompts with its bootstrap interval (`bandit.bootstrap`), None without any value."""
    return bootstrap_mean(by_prompt(values, prompt_of), seed=seed) if values else None

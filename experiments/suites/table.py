"""From the scores of all pictures to a suite's table. Pure, so that the table can be made again from the rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bandit.bootstrap import bootstrap_mean
from core.records import Estimate
from experiments.compare.statistics import holm, sign_flip_p

TIE = 0.1
"""A gain under this share of the pooled seed sd of naive is a tie (issue: win and tie)."""
Values = Sequence[float | None]
"""A prompt's scores, one a seed; None where a picture or score failed."""


@dataclass(frozen=True)
class Case:
    """A naive prompt, and its group: the style family, or "" when unknown."""

    prompt: str
    group: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one row.

    Attributes:
        name: the row's.
        against: the row with the naive prompts of the same cases.
        label: who refined.
        cases: naive prompts.
        refined: what became of each; None where refining failed.
        errors: why, by prompt.
        scores: by scorer, each case's values.
        cost: `llm_calls`, `tokens`, `seconds` a prompt.
    """

    name: str
    against: str
    label: str
    cases: Sequence[Case]
    refined: Sequence[str | None]
    errors: Sequence[str]
    scores: Mapping[str, Sequence[Values]]
    cost: Mapping[str, float] = field(default_factory=dict)


def table(outcomes: Sequence[Outcome], reference: str, seed: int = 0) -> dict[str, Any]:
    """Return `rows` and `pairs`.

    A row has, by scorer: `mean`; `delta`, the paired difference to its naive row, with `ci95` (seeds averaged within a
    prompt, prompts resampled), `p` (paired sign flips of prompts) and `p_adjusted` (Holm, over the rows); `win` and
    `tie`, shares of prompts. Beside these `relevance` (mean of 0, 1, 2 = none, some, all of the scene by the judge;
    None without one), `relevance_shares`, costs, `failed`, and `families` (delta and ci95 by group). Pairs: the
    reference less each other row on the same prompts, by scorer.
    """
    by_name = {outcome.name: outcome for outcome in outcomes}
    rows = {name: _row(outcome, by_name[outcome.against], seed) for name, outcome in by_name.items()}
    _adjust([row["scores"] for name, row in rows.items() if by_name[name].against != name])
    pairs = {}
    if reference in by_name:
        ours = by_name[reference]
        others = [o for o in outcomes if o.name != reference and o.against == ours.against]
        pairs = {other.name: _differences(ours, other, seed) for other in others}
        _adjust(list(pairs.values()))
    return {"rows": rows, "pairs": {"reference": reference, "rows": pairs}}


def _row(outcome: Outcome, naive: Outcome, seed: int) -> dict[str, Any]:
    scores = {name: _score(name, outcome, naive, seed) for name in outcome.scores}
    return {
        "label": outcome.label,
        "against": outcome.against,
        "prompts": len(outcome.cases),
        "scores": {name: found for name, found in scores.items() if found},
        **_relevance(outcome.scores.get("judge")),
        "llm_calls_per_prompt": outcome.cost.get("llm_calls", 0.0),
        "seconds_per_prompt": outcome.cost.get("seconds", 0.0),
        "tokens_per_prompt": outcome.cost.get("tokens", 0.0),
        "words": mean_of([len(text.split()) for text in outcome.refined if text]),
        "failed": sum(text is None for text in outcome.refined),
        "errors": _counted(outcome.errors),
        "families": by_group(outcome, naive, [case.group for case in outcome.cases], seed),
    }


def _counted(errors: Sequence[str]) -> dict[str, int]:
    return {error: sum(other == error for other in errors) for error in dict.fromkeys(filter(None, errors))}


def _score(scorer: str, outcome: Outcome, naive: Outcome, seed: int) -> dict[str, Any]:
    values = outcome.scores[scorer]
    means = [mean for row in values if (mean := mean_of(row)) is not None]
    gains = differences(outcome, naive, scorer)
    if not means or not gains:
        return {}
    margin = TIE * pooled_sd(naive.scores[scorer])
    return {
        "mean": fmean(means),
        **_estimate(gains, seed),
        "p": sign_flip_p(list(gains.values())),
        "win": fmean(gain > 0 and gain >= margin for gain in gains.values()),
        "tie": fmean(abs(gain) < margin or gain == 0 for gain in gains.values()),
        "n": len(gains),
    }


def _estimate(gains: Mapping[str, float], seed: int, key: str = "delta") -> dict[str, Any]:
    found = bootstrap_mean({prompt: [gain] for prompt, gain in gains.items()}, seed=seed)
    return {key: found.mean, "ci95": interval(found)}


def interval(estimate: Estimate) -> list[float] | None:
    """Return a bootstrap's interval; None of one prompt, which says nothing about the spread over prompts."""
    return list(estimate.ci95) if estimate.n > 1 else None


def differences(first: Outcome, second: Outcome, scorer: str) -> dict[str, float]:
    """Return first - second by prompt: means over the seeds that both have a score on; prompts without any left out."""
    other = {case.prompt: row for case, row in zip(second.cases, second.scores[scorer], strict=True)}
    found = {}
    for case, row in zip(first.cases, first.scores[scorer], strict=True):
        pairs = zip(row, other.get(case.prompt, [None] * len(row)), strict=True)
        both = [mine - its for mine, its in pairs if mine is not None and its is not None]
        if both:
            found[case.prompt] = fmean(both)
    return found


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known, None without any."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def pooled_sd(values: Sequence[Values]) -> float:
    """Return the standard deviation over seeds within a prompt, pooled over prompts; 0 with one seed."""
    squares, freedom = 0.0, 0
    for row in values:
        known = [value for value in row if value is not None]
        if len(known) > 1:
            centre = fmean(known)
            squares += sum((value - centre) ** 2 for value in known)
            freedom += len(known) - 1
    return math.sqrt(squares / freedom) if freedom else 0.0


def _relevance(judged: Sequence[Values] | None) -> dict[str, Any]:
    known = [value for row in judged or () for value in row if value is not None]
    if not known:
        return {"relevance": None, "relevance_shares": None}
    levels = [0 if value == 0 else 2 if value == 1 else 1 for value in known]
    return {"relevance": fmean(levels), "relevance_shares": [levels.count(k) / len(levels) for k in (0, 1, 2)]}


def by_group(outcome: Outcome, other: Outcome, groups: Sequence[str], seed: int) -> dict[str, Any]:
    """Return by group and scorer the mean, and the paired difference to another row; {} with one group alone.

    Args:
        outcome: a row.
        other: another one, with the same prompts among its own.
        groups: of each of the row's cases; "" = none.
        seed: of the intervals.
    """
    names = sorted(set(groups) - {""})
    places = {name: [place for place, group in enumerate(groups) if group == name] for name in names}
    return {name: _group(outcome, other, places[name], seed) for name in names} if len(names) > 1 else {}


def _group(outcome: Outcome, other: Outcome, places: Sequence[int], seed: int) -> dict[str, Any]:
    inside = {outcome.cases[place].prompt for place in places}
    found = {}
    for scorer, values in outcome.scores.items():
        gains = {prompt: gain for prompt, gain in differences(outcome, other, scorer).items() if prompt in inside}
        mean = mean_of([mean_of(values[place]) for place in places])
        if gains and mean is not None:
            found[scorer] = {"mean": mean, **_estimate(gains, seed), "n": len(gains)}
    return found


def _differences(ours: Outcome, other: Outcome, seed: int) -> dict[str, Any]:
    found = {}
    for scorer in ours.scores:
        gains = differences(ours, other, scorer)
        if gains:
            found[scorer] = {**_estimate(gains, seed, "difference"), "p": sign_flip_p(list(gains.values()))}
    return found


def _adjust(rows: Sequence[dict[str, Any]]) -> None:
    """Add Holm's adjusted p-values to the rows, within each scorer."""
    for scorer in dict.fromkeys(name for row in rows for name in row):
        cells = [row[scorer] for row in rows if scorer in row]
        for cell, p in zip(cells, holm([cell["p"] for cell in cells]), strict=True):
            cell["p_adjusted"] = p

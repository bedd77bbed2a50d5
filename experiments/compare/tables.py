"""From the outcomes of a comparison's runs to its tables. Pure, so that a report can be recomputed from the runs."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from experiments.compare.plan import Plan
from experiments.compare.statistics import (
    Replicates,
    censored_median,
    holm,
    nested_bootstrap,
    renders_to,
    sign_flip_p,
)

PAIRS = {"policies": "pairs", "batch_sizes": "batch_size_pairs", "configs": "config_pairs"}
"""Key of a table's pairwise differences, by key of the table."""
SHARE = 0.9
"""`renders_to_90` asks for this share of the best gain that any recommendation of the replicate has."""
Outcomes = Mapping[str, Mapping[str, Any]]
"""By run: `experiments.compare.trace.trace`, with the summary's `ledger` and `holdout`."""


def comparison(name: str, plan: Plan, outcomes: Outcomes) -> dict[str, Any]:
    """Return what `comparison.json` holds.

    Every table maps a level to `gain` (mean over replicates of the recommendation's paired test score against naive),
    `ci95` (two-level bootstrap), `regret` (mean of the replicate's best gain minus this one's), `renders_to_90` (median
    of the loop's pictures until the recommendation has 90 % of that best gain), `censored` (runs that never had) and
    `at_least` (true: the median is of such runs, so a lower bound); with them `by_group`, `truth`, `renders`, `seconds`
    and `usd` of a run as if it had been alone. Pairs: paired differences a - b with Holm-adjusted p-values.
    """
    first = next(iter(outcomes.values()))
    result: dict[str, Any] = {
        "format": "brushup-comparison/1",
        "comparison": name,
        "budget_renders": plan.budget_renders,
        "replicates": plan.replicates,
        "scorer": first["holdout"]["scorer"],
        "test": {"prompts": first["holdout"]["prompts"], "seeds": first["holdout"]["seeds"]},
    }
    prices = seconds_each(outcomes)
    for table, pairs in PAIRS.items():
        levels = {level: _runs(plan, variant, outcomes) for level, variant in plan.tables.get(table, {}).items()}
        best = [max(_gain(runs[place]) for runs in levels.values()) for place in range(plan.replicates) if levels]
        result[table] = {
            level: {"variant": variant, **_level(levels[level], best, prices)}
            for level, variant in plan.tables.get(table, {}).items()
        }
        result[pairs] = _pairs(levels)
    result["runs"] = [_run(cell.run, cell.variant, cell.replicate, outcomes[cell.run]) for cell in plan.cells()]
    return result


def _runs(plan: Plan, variant: str, outcomes: Outcomes) -> list[Mapping[str, Any]]:
    return [outcomes[f"{variant}-r{replicate}"] for replicate in range(plan.replicates)]


def _gain(outcome: Mapping[str, Any]) -> float:
    return fmean(outcome["gains"].values())


def _level(runs: Sequence[Mapping[str, Any]], best: Sequence[float], prices: Mapping[str, float]) -> dict[str, Any]:
    estimate = nested_bootstrap([list(run["gains"].values()) for run in runs], seed=0)
    reached = [_reached(run, top) for run, top in zip(runs, best, strict=True)]
    median, at_least = censored_median(reached)
    usd = [run["ledger"]["usd"] for run in runs]
    truth = [run["truth"] for run in runs if run["truth"] is not None]
    return {
        "gain": estimate.mean,
        "ci95": list(estimate.ci95),
        "regret": fmean(top - _gain(run) for run, top in zip(runs, best, strict=True)),
        "renders_to_90": median,
        "censored": sum(bound for _, bound in reached),
        "at_least": at_least,
        "by_group": _by_group(runs),
        "truth": fmean(truth) if truth else None,
        "renders": fmean(run["loop_renders"] for run in runs),
        "seconds": fmean(_seconds_alone(run["ledger"], prices) for run in runs),
        "usd": None if None in usd else fmean(usd),
    }


def _reached(run: Mapping[str, Any], best: float) -> tuple[float, bool]:
    """Return after how many pictures a run had the best gain's share; never, where nothing was better than naive."""
    curve = [(renders, gain) for renders, _, gain in run["curve"] if gain is not None and best > 0]
    return renders_to(curve, SHARE * best, run["loop_renders"])


def _by_group(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the gain in each group of prompts (style families) that every replicate has."""
    groups = sorted(set.intersection(*({run["groups"][prompt] for prompt in run["gains"]} for run in runs)) - {""})
    found = {}
    for group in groups:
        rows = [[gain for prompt, gain in run["gains"].items() if run["groups"][prompt] == group] for run in runs]
        estimate = nested_bootstrap(rows, seed=0)
        found[group] = {"gain": estimate.mean, "ci95": list(estimate.ci95)}
    return found


def _pairs(levels: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    names = list(combinations(levels, 2))
    differences = [_differences(levels[a], levels[b]) for a, b in names]
    adjusted = holm([sign_flip_p([fmean(row) for row in rows]) for rows in differences])
    found = []
    for (a, b), rows, p in zip(names, differences, adjusted, strict=True):
        estimate = nested_bootstrap(rows, seed=0)
        found.append({"a": a, "b": b, "difference": estimate.mean, "ci95": list(estimate.ci95), "p_adjusted": p})
    return found


def _differences(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> Replicates:
    """Return a - b by replicate and prompt, over the prompts that both have a result on."""
    return [
        [gain - two["gains"][prompt] for prompt, gain in one["gains"].items() if prompt in two["gains"]]
        for one, two in zip(first, second, strict=True)
    ]


def seconds_each(outcomes: Outcomes) -> dict[str, float]:
    """Return what a picture and an LLM call took where they did not come from the cache, over all runs."""
    found = {}
    for kind, count in (("render", "renders"), ("llm", "llm_calls")):
        fresh = sum(run["ledger"][count] - run["ledger"][f"{count}_cached"] for run in outcomes.values())
        busy = sum(run["ledger"][f"{kind}_seconds"] for run in outcomes.values())
        found[kind] = busy / fresh if fresh else 0.0
    return found


def _seconds_alone(ledger: Mapping[str, Any], each: Mapping[str, float]) -> float:
    """Return about how long a run takes when nothing comes from the cache."""
    overhead = ledger["loop_seconds"] - ledger["render_seconds"] - ledger["llm_seconds"]
    return overhead + ledger["renders"] * each["render"] + ledger["llm_calls"] * each["llm"]


def _run(run: str, variant: str, replicate: int, outcome: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("recommended", "text", "truth", "loop_renders", "curve")
    return {
        "run": run,
        "variant": variant,
        "replicate": replicate,
        "gain": _gain(outcome),
        **{key: outcome[key] for key in kept},
    }

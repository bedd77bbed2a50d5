"""What the report of any runs side by side shows: equal settings are not assumed but looked for."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from experiments.compare.statistics import Replicates, holm, nested_bootstrap, sign_flip_p
from experiments.folder import RunFolder
from experiments.member import Member, member
from experiments.report.members import gallery, run_line
from experiments.report.ranking import comparison_verdict, mean_curve, ranking
from experiments.report.single import home_option, round_points
from experiments.verdict import scale_of
from reports.records import ComparisonReport, ComparisonTable, CurvePoint, LevelLine, PairLine

APART = ("budget", "storage", "run.seed", "run.holdout_seed")
"""Settings that do not make two runs different experiments."""
CURVES = "Reward of the loop's leader on train prompts, with its 95 % interval; picked there, so flattered."


def runs_comparison(folders: Sequence[RunFolder]) -> ComparisonReport:
    """Return the report of runs side by side, and by policy where several runs of a policy are among them.

    Raises:
        BadInput: the files of a run are damaged.
    """
    members = {folder.name: member(folder) for folder in folders}
    scorers = {one.details.scorer for one in members.values()} - {""}
    scale = min((scale_of(scorer) for scorer in scorers), default=1)
    comparable = len(scorers) == 1
    by_policy = _policy_table(members) if comparable else None
    tables = (*([by_policy] if by_policy else ()), _run_table(members, comparable=comparable))
    return ComparisonReport(
        name=", ".join(members),
        verdict=comparison_verdict(tables[0], scale),
        scale=scale,
        tables=tables,
        runs=tuple(run_line(one) for one in members.values()),
        gallery=gallery(members, "") if comparable else None,
        warnings=tuple(_warnings(members, comparable=comparable)),
        commands=tuple(
            (f"Report of {name}", f"brushup report {name} -o {name}.html{home_option(one.folder)}")
            for name, one in members.items()
        ),
    )


def _run_table(members: Mapping[str, Member], *, comparable: bool) -> ComparisonTable:
    gains = {name: one.gains() if comparable else {} for name, one in members.items()}
    shared = {
        (a, b): [[gains[a][text] - gains[b][text] for text in gains[a] if text in gains[b]]]
        for a, b in combinations(gains, 2)
    }
    pairs = _pairs({names: rows for names, rows in shared.items() if len(rows[0]) > 1}, units="prompts")
    prompts = sorted(set.intersection(*(set(row) for row in gains.values())))
    test = "paired sign-flip permutation over prompts, Holm"
    return ComparisonTable(
        unit="run",
        levels=tuple(_level(name, [one]) for name, one in members.items()),
        pairs=pairs,
        pairs_note=f"Over the test prompts that both runs share, seeds averaged. p: {test}. These are single runs: "
        "another seed of the same settings may end elsewhere, which `brushup compare` measures.",
        curves={name: curve for name, one in members.items() if (curve := _train_curve(one))} or None,
        curves_note=CURVES,
        ranking=ranking(
            [{name: row[text] for name, row in gains.items()} for text in prompts],
            pairs,
            unit="shared test prompts",
            test=test,
        ),
    )


def _policy_table(members: Mapping[str, Member]) -> ComparisonTable | None:
    """Return the runs grouped by policy; None unless policies have several tested runs that differ in seeds alone."""
    if set(_differing(list(members.values()))) - {"bandit.policy"}:
        return None
    groups: dict[str, dict[tuple[int, int], Member]] = {}
    for one in members.values():
        if one.gains():
            seeds = (one.config.run.seed, one.config.run.holdout_seed)
            groups.setdefault(one.config.bandit.policy, {})[seeds] = one
    if len(groups) < 2 or min(map(len, groups.values())) < 2:
        return None
    replicates = sorted(set.intersection(*(set(group) for group in groups.values())))
    gains = {policy: [group[seeds].gains() for seeds in replicates] for policy, group in groups.items()}
    pairs = _pairs({(a, b): _differences(gains[a], gains[b]) for a, b in combinations(gains, 2)}, units="replicates")
    test = "paired sign-flip permutation over replicates, Holm"
    return ComparisonTable(
        unit="policy",
        levels=tuple(_level(policy, list(group.values())) for policy, group in groups.items()),
        pairs=pairs,
        pairs_note=f"Paired by seeds ({len(replicates)} that all have). Interval: two-level bootstrap. p: {test}.",
        curves={policy: curve for policy, group in groups.items() if (curve := _mean_train_curve(group))} or None,
        curves_note=CURVES.replace("with its", "mean over runs with its"),
        ranking=ranking(
            [
                {policy: fmean(rows[place].values()) for policy, rows in gains.items()}
                for place in range(len(replicates))
            ],
            pairs,
            unit="replicates",
            test=test,
        ),
    )


def _level(name: str, runs: Sequence[Member]) -> LevelLine:
    tested = [one for one in runs if one.gain]
    rows = [list(one.gains().values()) for one in tested]
    ledgers = [one.details.ledger for one in runs if one.details.ledger]
    return LevelLine(
        name,
        len(runs),
        tested[0].gain if len(tested) == 1 else nested_bootstrap(rows, seed=0) if tested else None,
        renders=fmean(ledger["renders"] for ledger in ledgers) if ledgers else None,
        seconds=fmean(ledger["total_seconds"] for ledger in ledgers) if ledgers else None,
    )


def _pairs(rows: Mapping[tuple[str, str], Replicates], *, units: str) -> tuple[PairLine, ...]:
    """Return paired differences; the test's units are the replicates, or the prompts of the only one."""
    values = [[fmean(row) for row in found] if units == "replicates" else found[0] for found in rows.values()]
    adjusted = holm([sign_flip_p(found) for found in values])
    return tuple(
        PairLine(a, b, nested_bootstrap(found, seed=0), p)
        for ((a, b), found), p in zip(rows.items(), adjusted, strict=True)
        if found
    )


def _differences(first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]]) -> Replicates:
    rows = [
        [gain - two[text] for text, gain in one.items() if text in two] for one, two in zip(first, second, strict=True)
    ]
    return [row for row in rows if row]


def _train_curve(one: Member) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(p.renders, p.lead.mean, *p.lead.ci95) for p in round_points(one.evidence))


def _mean_train_curve(group: Mapping[Any, Member]) -> tuple[CurvePoint, ...]:
    return mean_curve([[(point.x, point.mean) for point in _train_curve(one)] for one in group.values()])


def _differing(members: Sequence[Member]) -> list[str]:
    """Return the settings in which runs differ, seeds, budget and storage apart."""
    dumps = [one.config.model_dump(mode="json") for one in members]
    return [
        f"{section}.{key}"
        for section in dumps[0]
        for key in dumps[0][section]
        if section not in APART
        and f"{section}.{key}" not in APART
        and len({json.dumps(raw[section][key]) for raw in dumps}) > 1
    ]


def _warnings(members: Mapping[str, Member], *, comparable: bool) -> list[str]:
    """Say what stands in the way of comparing these runs as equals."""
    found = [] if comparable else ["the runs were scored by different scorers: their gains cannot be compared"]
    unfinished = [name for name, one in members.items() if one.details.summary is None]
    if unfinished:
        found.append(f"no test yet: {', '.join(unfinished)}; nothing can be said about what they found")
    keys = _differing(list(members.values()))
    if keys:
        found.append(f"the runs differ in {', '.join(keys)}: a difference may be due to any of these")
    return found

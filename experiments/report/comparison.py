"""What the report of a comparison shows: `comparison.json`, and the runs beside it as far as they are still there."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import BadInput
from core.records import Estimate
from experiments.folder import RunFolder, all_folders, read_json
from experiments.member import Member, member
from experiments.report.members import COLUMNS, gallery, run_line
from experiments.report.ranking import comparison_verdict, mean_curve, ranking
from experiments.report.single import home_option
from experiments.verdict import scale_of
from reports.records import ComparisonReport, ComparisonTable, Gallery, GroupLine, LevelLine, PairLine, Verdict

TABLES = {
    "policies": ("policy", "pairs"),
    "batch_sizes": ("batch size", "batch_size_pairs"),
    "configs": ("configuration", "config_pairs"),
}
"""Keys of `comparison.json`: a table -> what its levels are, and the key of its pairs."""


def stored_comparison(folder: RunFolder) -> ComparisonReport:
    """Return the report of `HOME/NAME/comparison.json`; of the runs beside it, as far as they are still there.

    Raises:
        BadInput: a file is damaged.
    """
    found = read_json(folder.comparison_file)
    try:
        return _report(folder, found)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInput(
            f"{folder.comparison_file} is not what `brushup compare` writes: {error!r}; compare again"
        ) from None


def _report(folder: RunFolder, found: Mapping[str, Any]) -> ComparisonReport:
    scale = scale_of(found.get("scorer", ""))
    members = {run.name: member(run) for run in all_folders(folder.path)}
    tables = tuple(_table(found, key) for key in TABLES if found.get(key))
    return ComparisonReport(
        name=folder.name,
        verdict=comparison_verdict(tables[0], scale) if tables else Verdict("nothing was compared"),
        scale=scale,
        tables=tables,
        runs=tuple(run_line(one) for one in members.values()),
        gallery=_first_gallery(found, members),
        commands=_commands(folder, list(members)),
    )


def _table(found: Mapping[str, Any], key: str) -> ComparisonTable:
    unit, pairs_key = TABLES[key]
    runs = {level: _runs_of(found, level, row) for level, row in found[key].items()}
    pairs = tuple(
        PairLine(row["a"], row["b"], Estimate(row["difference"], tuple(row["ci95"])), row.get("p_adjusted"))
        for row in found.get(pairs_key, ())
    )
    test = "paired sign-flip permutation over replicates, Holm"
    return ComparisonTable(
        unit=unit,
        levels=tuple(_level(level, row, found.get("replicates", 0)) for level, row in found[key].items()),
        pairs=pairs,
        pairs_note=f"Paired by replicate: same prompts, batches and seeds. Interval: two-level bootstrap. p: {test}.",
        curves={level: curve for level, mine in runs.items() if (curve := mean_curve(_steps(mine)))} or None,
        curves_note="Held-out gain of what would have been recommended after so many pictures, mean over replicates"
        " with its 95 % interval. Measured afterwards, and not charged.",
        ranking=ranking(_replicates(runs), pairs, unit="replicates", test=test),
    )


def _level(name: str, row: Mapping[str, Any], replicates: int) -> LevelLine:
    return LevelLine(
        name=name,
        runs=replicates,
        gain=None if row.get("gain") is None else Estimate(row["gain"], tuple(row["ci95"]), replicates),
        regret=row.get("regret"),
        renders_to_90=row.get("renders_to_90"),
        at_least=bool(row.get("at_least", row.get("censored"))),
        censored=None if row.get("censored") is None else int(row["censored"]),
        renders=row.get("renders"),
        seconds=row.get("seconds"),
        groups=tuple(
            GroupLine(group, Estimate(found["gain"], tuple(found["ci95"]), replicates))
            for group, found in (row.get("by_group") or {}).items()
        ),
    )


def _runs_of(found: Mapping[str, Any], level: str, row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    variant = row.get("variant", level)
    return [run for run in found.get("runs", ()) if run["variant"] == variant]


def _replicates(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, float]]:
    """Return the gain by level of each replicate that every level has."""
    gains = {level: {run["replicate"]: run["gain"] for run in mine} for level, mine in runs.items()}
    shared = set.intersection(*(set(row) for row in gains.values())) if gains else set()
    return [{level: row[replicate] for level, row in gains.items()} for replicate in sorted(shared)]


def _steps(runs: Sequence[Mapping[str, Any]]) -> list[list[tuple[float, float]]]:
    return [[(renders, gain) for renders, _, gain in run["curve"] if gain is not None] for run in runs]


def _first_gallery(found: Mapping[str, Any], members: Mapping[str, Member]) -> Gallery | None:
    """Return pictures of the first table's best levels in the first replicate whose runs are all there."""
    for key in TABLES:
        levels = sorted(found.get(key) or {}, key=lambda level: -(found[key][level].get("gain") or 0.0))[:COLUMNS]
        firsts = {
            level: run["run"]
            for level in levels
            for run in _runs_of(found, level, found[key][level])
            if run["replicate"] == 0
        }
        if firsts and set(firsts.values()) <= members.keys():
            return gallery({level: members[run] for level, run in firsts.items()}, "the first replicate's ")
    return None


def _commands(folder: RunFolder, runs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    inner = home_option(RunFolder(folder.path, ""))
    found = [("The runs", f"brushup runs{inner}")]
    if runs:
        found.append(("One run's own report", f"brushup report {runs[0]} -o report.html{inner}"))
    return tuple(found)

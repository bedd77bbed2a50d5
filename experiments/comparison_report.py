"""What the report of a comparison shows: of `brushup compare`'s `comparison.json`, or of any runs side by side."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from bandit.bootstrap import bootstrap_mean
from core.records import NAIVE, Estimate
from experiments.compare_statistics import holm, nested_bootstrap, sign_flip_p
from experiments.config import RunConfig
from experiments.contact_sheet import chosen_prompts
from experiments.details import RunDetails, run_details
from experiments.duels import shot
from experiments.evidence import NOTHING, Evidence, gather
from experiments.folder import RunFolder, all_folders, read_json
from experiments.paired import by_prompt
from experiments.ranking import LEVEL, ranking
from experiments.report import as_estimate, home_option, round_points, run_config
from experiments.verdict import scale_of
from rendering.cache import ImageCache
from reports.records import (
    ComparisonReport,
    ComparisonRun,
    ComparisonTable,
    CurvePoint,
    Gallery,
    GalleryRow,
    GroupLine,
    LevelLine,
    PairLine,
    Shot,
    Verdict,
)

TABLES = {
    "policies": ("policy", "pairs"),
    "batch_sizes": ("batch size", "batch_size_pairs"),
    "configs": ("configuration", "config_pairs"),
}
"""Keys of `comparison.json`: a table -> what its levels are, and the key of its pairs."""
ROWS = 6
"""Prompts in the gallery."""
COLUMNS = 4
"""Levels in the gallery, beside the naive prompts."""
GRID = 60
"""Most points of a curve with a band."""


@dataclass(frozen=True)
class Member:
    """A run that is compared."""

    folder: RunFolder
    config: RunConfig
    details: RunDetails
    evidence: Evidence

    @property
    def best(self) -> str:
        """The arm that it recommends."""
        return next((arm.id for arm in self.details.arms if arm.best), "")

    @property
    def gain(self) -> Estimate | None:
        """Its test result, None before that."""
        return as_estimate(self.details.summary["holdout"]["best_minus_naive"]) if self.details.summary else None

    def gains(self) -> dict[str, float]:
        """Return the gain on each test prompt, by its text."""
        if self.details.summary is None:
            return {}
        found = self.evidence.rewards("test", self.best)
        grouped = by_prompt(found, {block: self.evidence.blocks[block].prompt_id for block in found})
        return {self.evidence.prompts[prompt].text: fmean(values) for prompt, values in grouped.items()}


def member(folder: RunFolder) -> Member:
    """Return a run to compare.

    Raises:
        BadInput: its files are damaged, or of a newer schema.
    """
    config, details = run_config(folder), run_details(folder)
    return Member(folder, config, details, gather(folder, config, details.scorer) if details.scorer else NOTHING)


# --- of `brushup compare`


def stored_comparison(folder: RunFolder) -> ComparisonReport:
    """Return the report of `HOME/NAME/comparison.json`; of the runs beside it, as far as they are still there.

    Raises:
        BadInput: a file is damaged.
    """
    found = read_json(folder.comparison_file)
    scale = scale_of(found.get("scorer", ""))
    members = {run.name: member(run) for run in all_folders(folder.path)}
    tables = tuple(_table(found, key) for key in TABLES if found.get(key))
    return ComparisonReport(
        name=folder.name,
        verdict=comparison_verdict(tables[0], scale) if tables else Verdict("nothing was compared"),
        scale=scale,
        tables=tables,
        runs=tuple(_line(one) for one in members.values()),
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
        curves={level: curve for level, mine in runs.items() if (curve := mean_curve(mine))} or None,
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


def mean_curve(runs: Sequence[Mapping[str, Any]]) -> tuple[CurvePoint, ...]:
    """Return the mean over runs of their step curves (`curve`: renders, arm, gain), from where all have begun.

    Each run keeps its last value; the band is a bootstrap interval over runs.
    """
    steps = [[(renders, gain) for renders, _, gain in run["curve"] if gain is not None] for run in runs]
    if not steps or not all(steps):
        return ()
    start = max(curve[0][0] for curve in steps)
    xs = sorted({x for curve in steps for x, _ in curve if x >= start})
    points = []
    for x in xs[:: max(1, len(xs) // GRID)] + xs[-1:]:
        values = {str(run): [[gain for at, gain in curve if at <= x][-1]] for run, curve in enumerate(steps)}
        found = bootstrap_mean(values, seed=0, draws=2000)
        points.append(CurvePoint(x, found.mean, *found.ci95))
    return tuple(points)


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


# --- of any runs


def runs_comparison(folders: Sequence[RunFolder]) -> ComparisonReport:
    """Return the report of runs side by side, each for itself: equal settings are not assumed but looked for.

    Raises:
        BadInput: the files of a run are damaged.
    """
    members = {folder.name: member(folder) for folder in folders}
    scorers = {one.details.scorer for one in members.values()} - {""}
    scale = min((scale_of(scorer) for scorer in scorers), default=1)
    gains = {name: one.gains() for name, one in members.items()}
    comparable = len(scorers) == 1
    pairs = run_pairs(gains) if comparable else ()
    shared = set.intersection(*(set(row) for row in gains.values()))
    rows = [{name: row[text] for name, row in gains.items()} for text in sorted(shared)] if comparable else []
    test = "paired sign-flip permutation over prompts, Holm"
    table = ComparisonTable(
        unit="run",
        levels=tuple(
            LevelLine(
                name,
                1,
                one.gain,
                renders=one.details.ledger.get("renders"),
                seconds=one.details.ledger.get("total_seconds"),
            )
            for name, one in members.items()
        ),
        pairs=pairs,
        pairs_note=f"Over the test prompts that both runs share, seeds averaged. p: {test}. These are single runs: "
        "another seed of the same settings may end elsewhere, which `brushup compare` measures.",
        curves={name: curve for name, one in members.items() if (curve := _train_curve(one))} or None,
        curves_note="Reward of the loop's leader on train prompts, with its 95 % interval; picked there, so flattered.",
        ranking=ranking(rows, pairs, unit="shared test prompts", test=test),
    )
    return ComparisonReport(
        name=", ".join(members),
        verdict=comparison_verdict(table, scale),
        scale=scale,
        tables=(table,),
        runs=tuple(_line(one) for one in members.values()),
        gallery=gallery(members, "") if comparable else None,
        warnings=tuple(_differences(members, comparable)),
        commands=tuple(
            (f"Report of {name}", f"brushup report {name} -o {name}.html{home_option(one.folder)}")
            for name, one in members.items()
        ),
    )


def run_pairs(gains: Mapping[str, Mapping[str, float]]) -> tuple[PairLine, ...]:
    """Return the paired differences of every two runs that share at least two test prompts."""
    rows = {}
    for a, b in combinations(gains, 2):
        shared = [gains[a][text] - gains[b][text] for text in gains[a] if text in gains[b]]
        if len(shared) > 1:
            rows[a, b] = shared
    adjusted = holm([sign_flip_p(row) for row in rows.values()])
    return tuple(
        PairLine(a, b, nested_bootstrap([row], seed=0), p)
        for ((a, b), row), p in zip(rows.items(), adjusted, strict=True)
    )


def _train_curve(one: Member) -> tuple[CurvePoint, ...]:
    points = round_points(one.evidence)
    return tuple(CurvePoint(point.renders, point.lead.mean, *point.lead.ci95) for point in points)


def _differences(members: Mapping[str, Member], comparable: bool) -> list[str]:
    """Say what stands in the way of comparing these runs as equals."""
    found = [] if comparable else ["the runs were scored by different scorers: their gains cannot be compared"]
    unfinished = [name for name, one in members.items() if one.details.summary is None]
    if unfinished:
        found.append(f"no test yet: {', '.join(unfinished)}; nothing can be said about what they found")
    dumps = [one.config.model_dump(mode="json") for one in members.values()]
    keys = [
        f"{section}.{key}"
        for section in dumps[0]
        for key in dumps[0][section]
        if len({json.dumps(raw[section][key]) for raw in dumps}) > 1
    ]
    if keys:
        found.append(f"the runs differ in {', '.join(keys)}: a difference may be due to any of these")
    return found


# --- both


def comparison_verdict(table: ComparisonTable, scale: float) -> Verdict:
    """Say which level found the best instructions, no more than the pairwise tests allow."""
    known = [level for level in table.levels if level.gain is not None]
    if not known:
        return Verdict("no verdict yet: nothing has been tested", tone="unfinished")
    best = max(known, key=lambda level: level.gain.mean)  # type: ignore[union-attr]
    gain: Estimate = best.gain  # type: ignore[assignment]
    half = scale * (gain.ci95[1] - gain.ci95[0]) / 2
    text = f"highest gain: {best.name}, {scale * gain.mean:+.2f} ± {half:.2f} over your prompts"
    doubt = () if gain.ci95[0] > 0 else ("its interval holds 0: not even this one is shown to beat your prompts",)
    against = [pair for pair in table.pairs if best.name in (pair.a, pair.b)]
    equal = [pair.b if pair.a == best.name else pair.a for pair in against if pair.p is None or pair.p >= LEVEL]
    if len(against) < len(table.levels) - 1:
        return Verdict(text, (*doubt, "not every pair could be tested"), "unclear")
    if equal:
        return Verdict(text, (*doubt, f"it cannot be told apart from {', '.join(equal)}"), "unclear")
    return Verdict(
        text, (*doubt, f"it can be told apart from every other {table.unit}"), "unclear" if doubt else "better"
    )


def gallery(members: Mapping[str, Member], whose: str) -> Gallery | None:
    """Return what the runs recommend side by side, on test prompts and seeds that they share; None without any."""
    tested = _distinct({name: one for name, one in members.items() if one.gains()})
    if not tested:
        return None
    blocks = {name: _test_blocks(one) for name, one in tested.items()}
    shared = set.intersection(*(set(found) for found in blocks.values()))
    first, evidence = next((name, one.evidence) for name, one in tested.items())
    chosen: dict[str, tuple[str, int]] = {}
    for text, seed in sorted(shared, key=lambda key: blocks[first][key]):
        chosen.setdefault(text, (text, seed))
    prompts = [prompt for prompt in evidence.prompts.values() if prompt.split == "test" and prompt.text in chosen]
    rows = []
    for prompt in chosen_prompts(prompts, ROWS):
        key = chosen[prompt.text]
        shots = [_shot(tested[first], NAIVE, blocks[first][key])]
        shots += [_shot(one, one.best, blocks[name][key]) for name, one in tested.items()]
        rows.append(GalleryRow(prompt.text, prompt.group, key[1], tuple(shots)))
    if not rows:
        return None
    note = f"What each recommends, on {whose}test prompts, not picked by their scores; every row on one seed."
    return Gallery(("your prompt", *tested), tuple(rows), note)


def _distinct(members: Mapping[str, Member]) -> dict[str, Member]:
    """Return one run for each instruction that is recommended, under all names that recommend it; the best first."""
    names: dict[str, list[str]] = {}
    for name, one in members.items():
        names.setdefault(one.evidence.instructions[one.best].text, []).append(name)
    found = {", ".join(mine): members[mine[0]] for mine in names.values()}
    return dict(sorted(found.items(), key=lambda item: -item[1].gain.mean)[:COLUMNS])  # type: ignore[union-attr]


def _test_blocks(one: Member) -> dict[tuple[str, int], str]:
    """Return a run's drawn test blocks by naive text and seed."""
    evidence = one.evidence
    return {
        (evidence.prompts[block.prompt_id].text, block.seed): block.id
        for block in evidence.blocks.values()
        if block.split == "test" and (one.best, block.id) in evidence.drawn
    }


def _shot(one: Member, arm: str, block: str) -> Shot:
    return shot(one.evidence, ImageCache(one.folder.cache(one.config.storage.cache) / "images"), arm, block)


def _line(one: Member) -> ComparisonRun:
    return ComparisonRun(
        name=one.folder.name,
        policy=one.config.bandit.policy,
        seed=one.config.run.seed,
        status=one.details.status,
        best=one.best,
        gain=one.gain,
        renders=one.details.ledger.get("renders", 0),
    )


def _commands(folder: RunFolder, runs: Sequence[str]) -> tuple[tuple[str, str], ...]:
    inner = home_option(RunFolder(folder.path, ""))
    found = [("The runs", f"brushup runs{inner}")]
    if runs:
        found.append(("One run's own report", f"brushup report {runs[0]} -o report.html{inner}"))
    return tuple(found)

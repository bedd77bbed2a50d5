"""What a run's report shows, gathered read-only from its facts: also while it lives, or after it died."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

from bandit.pool import top
from bandit.statistics import bounds, pooled_sd
from core.records import NAIVE, Estimate
from experiments.circumstances import circumstances, costs
from experiments.config import RunConfig
from experiments.contact_sheet import chosen_prompts
from experiments.details import ArmLine, RunDetails, as_estimate, run_config, run_details
from experiments.evidence import Evidence, gather
from experiments.folder import RunFolder
from experiments.health import history_of, warnings
from experiments.report.duels import SPLITS, added_phrases, duel, rivals, shot
from experiments.status import has_facts, reading
from experiments.verdict import cost_line, scale_of, tested_on, verdict
from graph.workbench import INITIAL
from rendering.cache import ImageCache
from reports.records import (
    ArmReport,
    Gallery,
    GalleryRow,
    GroupLine,
    RoundPoint,
    RunReport,
    TestLine,
    Verdict,
    WatchedLine,
)

ROWS = 8
"""Prompts in the gallery."""
MOST_GROUPS = 12
"""More groups than that are labels of another kind, and not shown."""
MOST_ROUNDS = 60
"""Rounds in the curve."""
HOME = "runs"
"""The command line's default home, which commands need not name."""
_NAMES = {"naive": "you (naive)", "initial": "initial instruction", "frequent": "5 most frequent phrases"}


def run_report(folder: RunFolder) -> RunReport:
    """Return everything that a run's page shows.

    Raises:
        BadInput: the run's files are damaged, or of a newer schema.
    """
    details, config = run_details(folder), run_config(folder)
    if not details.scorer:
        return _empty(folder, details, config)
    evidence = gather(folder, config, details.scorer)
    images = ImageCache(folder.cache(config.storage.cache) / "images")
    best = next((arm.id for arm in details.arms if arm.best), "")
    validated = _validated(evidence, details)
    with reading(folder) as store:
        setting = circumstances(store, config)
    return RunReport(
        name=folder.name,
        status=details.status,
        verdict=run_verdict(details, evidence, best),
        scorer=details.scorer,
        scale=scale_of(details.scorer),
        best=best,
        best_text=evidence.instructions[best].text if best else "",
        missing=_missing(details, config, evidence),
        warnings=_warnings(details, evidence),
        test=_test(details.summary, best),
        validation=validated.get(best),
        groups=_groups(evidence, best),
        gallery=gallery(evidence, images, best),
        duels=_duels(evidence, images, best, _runner_up(details, validated, best)),
        phrases=added_phrases(evidence, best) if best else (),
        rounds=round_points(evidence),
        arms=tuple(_arm(arm, evidence, validated.get(arm.id)) for arm in details.arms),
        watched=_watched(details.summary),
        cost=cost_line(details.ledger),
        ledger=costs(details.ledger),
        failures=details.failures,
        circumstances=setting,
        commands=_commands(folder, details),
    )


def _empty(folder: RunFolder, details: RunDetails, config: RunConfig) -> RunReport:
    setting: tuple[tuple[str, str], ...] = ()
    if has_facts(folder):
        with reading(folder) as store:
            setting = circumstances(store, config)
    return RunReport(
        name=folder.name,
        status=details.status,
        verdict=Verdict(f"no verdict yet: nothing has been scored, the run is {details.status}", tone="unfinished"),
        scorer="",
        scale=1,
        best="",
        best_text="",
        missing=("all results: no picture has been scored yet",),
        failures=details.failures,
        ledger=costs(details.ledger),
        circumstances=setting,
        commands=_commands(folder, details),
    )


# --- the verdict, and what is missing


def run_verdict(details: RunDetails, evidence: Evidence, best: str) -> Verdict:
    """Return the command line's verdict on a completed run; of an unfinished one, what can be said so far."""
    if details.summary is not None:
        text, *more = verdict(details.summary).splitlines()
        return Verdict(
            text,
            (tested_on(details.summary["holdout"]), *more),
            tone(as_estimate(details.summary["holdout"]["best_minus_naive"])),
        )
    text = f"no verdict yet: the run is {details.status} in round {details.rounds}"
    more = []
    reward = evidence.estimate(evidence.rewards("train", best)) if best else None
    if reward is not None:
        scale = scale_of(details.scorer)
        low, high = (f"{scale * bound:+.2f}" for bound in reward.ci95)
        told = f"best so far: {best}, {scale * reward.mean:+.2f} [{low}, {high}] over your prompts on {reward.n} train"
        more.append(f"{told} prompts, flattered by having been picked there")
    if details.status == "interrupted":
        more.append("nothing is lost: the run can be resumed and pays for nothing twice")
    return Verdict(text, tuple(more), "unfinished")


def tone(gain: Estimate) -> str:
    """Return the tone of a verdict on a gain."""
    low, high = gain.ci95
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def _missing(details: RunDetails, config: RunConfig, evidence: Evidence) -> tuple[str, ...]:
    if details.summary is not None:
        return ()
    found = []
    if details.stop_reason is None:
        found.append(f"the rest of the loop: round {details.rounds} of at most {config.run.rounds} was reached")
    validated = [arm.id for arm in details.arms if arm.finalist]
    of = f"; scored so far: {', '.join(validated)}" if validated else ""
    found.append(f"the validation of the best instructions on fresh prompts{of}")
    tested = [arm for arm in evidence.scores if evidence.scored("test", arm)]
    of = f"; scored so far: {', '.join(tested)}" if tested else ""
    found.append(f"the test on unseen prompts, without which no gain is shown{of}")
    return tuple(found)


def _warnings(details: RunDetails, evidence: Evidence) -> tuple[str, ...]:
    if details.summary is not None:
        return tuple(details.summary["warnings"])
    table = {arm.id: evidence.rewards("train", arm.id) for arm in details.arms}
    return tuple(warnings(history_of(table, evidence.pulls, evidence.instructions.values())))


# --- the test


def _test(summary: Mapping[str, Any] | None, best: str) -> tuple[TestLine, ...]:
    if summary is None:
        return ()
    test = summary["holdout"]
    lines = [
        TestLine(label, test[key]["mean"], test[key]["failed"], as_estimate(test[f"best_minus_{key}"]))
        for key, label in _NAMES.items()
        if test[f"best_minus_{key}"]["n"]
    ]
    return (*lines, TestLine(f"best instruction ({best})", test["best"]["mean"], test["best"]["failed"]))


def _groups(evidence: Evidence, best: str) -> tuple[GroupLine, ...]:
    grouped: dict[str, dict[str, float]] = {}
    for block, value in evidence.rewards("test", best).items():
        grouped.setdefault(evidence.prompts[evidence.blocks[block].prompt_id].group, {})[block] = value
    if not 2 <= len(grouped) <= MOST_GROUPS or "" in grouped:
        return ()
    gains = {group: evidence.estimate(values) for group, values in sorted(grouped.items())}
    return tuple(GroupLine(group, gain) for group, gain in gains.items() if gain)


def _watched(summary: Mapping[str, Any] | None) -> tuple[WatchedLine, ...]:
    return tuple(
        WatchedLine(
            name, scale_of(name), found["naive"]["mean"], found["best"]["mean"], as_estimate(found["best_minus_naive"])
        )
        for name, found in ((summary or {}).get("watched") or {}).items()
    )


# --- pictures and duels


def gallery(evidence: Evidence, images: ImageCache, best: str) -> Gallery | None:
    """Return naive, initial and best side by side, on the freshest prompts that the best has met; None without any."""
    columns = {"your prompt": NAIVE, "initial": INITIAL, f"best {best}": best}
    if best == INITIAL:
        columns = {"your prompt": NAIVE, f"initial, the best {best}": best}
    for split in SPLITS:
        rows = _gallery_rows(evidence, images, split, list(columns.values()))
        if rows:
            unseen = "Prompts that nothing was tuned on" if split == "test" else f"Prompts of the {split} split"
            return Gallery(tuple(columns), rows, f"{unseen}, not picked by their scores; every row on one seed.")
    return None


def _gallery_rows(evidence: Evidence, images: ImageCache, split: str, arms: list[str]) -> tuple[GalleryRow, ...]:
    first: dict[str, str] = {}
    shared = [
        b for b in evidence.blocks.values() if b.split == split and all((arm, b.id) in evidence.drawn for arm in arms)
    ]
    for block in sorted(shared, key=lambda block: (block.batch, block.place)):
        first.setdefault(block.prompt_id, block.id)
    chosen = chosen_prompts([evidence.prompts[prompt] for prompt in first], ROWS)
    return tuple(
        GalleryRow(
            prompt.text,
            prompt.group,
            evidence.blocks[first[prompt.id]].seed,
            tuple(shot(evidence, images, arm, first[prompt.id]) for arm in arms),
        )
        for prompt in chosen
    )


def _validated(evidence: Evidence, details: RunDetails) -> dict[str, Estimate]:
    found = {arm.id: evidence.estimate(evidence.rewards("validation", arm.id)) for arm in details.arms if arm.finalist}
    return {arm: estimate for arm, estimate in found.items() if estimate}


def _runner_up(details: RunDetails, validated: Mapping[str, Estimate], best: str) -> str:
    """Return the second best: by validation, by which the winner was chosen, else by mean train reward."""
    means = {arm: found.mean for arm, found in validated.items()} or {
        arm.id: arm.mean for arm in details.arms if arm.mean is not None
    }
    return max((arm for arm in means if arm != best), key=lambda arm: (means[arm], arm), default="")


def _duels(evidence: Evidence, images: ImageCache, best: str, runner_up: str) -> tuple[Any, ...]:
    if not best:
        return ()
    found = (duel(evidence, images, best, rival, roles) for rival, roles in rivals(evidence, best, runner_up).items())
    return tuple(one for one in found if one)


# --- the search


def round_points(evidence: Evidence) -> tuple[RoundPoint, ...]:
    """Return where the loop stood at the end of each round that has brought a reward; of very many, every k-th."""
    points = []
    rounds = list(evidence.rounds())
    step = max(1, math.ceil(len(rounds) / MOST_ROUNDS))
    for number, pulls, so_far in rounds[::-step][::-1]:
        table = evidence.table(so_far)
        leaders = top(bounds(table, 1.0, pooled_sd(table)), 1)
        lead = evidence.estimate(table[leaders[0]]) if leaders else None
        mine = evidence.estimate(_round_rewards(evidence, pulls))
        if lead and mine:
            points.append(RoundPoint(number, _renders(evidence, so_far), leaders[0], lead, mine))
    return tuple(points)


def _round_rewards(evidence: Evidence, pulls: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean reward on each block that the round's pulls met; two arms on one block are averaged."""
    values: dict[str, list[float]] = {}
    for rewards in evidence.table(pulls).values():
        for block, value in rewards.items():
            values.setdefault(block, []).append(value)
    return {block: sum(found) / len(found) for block, found in values.items()}


def _renders(evidence: Evidence, pulls: list[dict[str, Any]]) -> int:
    """Count the pictures that these pulls asked for, the naive prompts' own on the same blocks included."""
    met = {(row["arm"], row["batch"]) for row in pulls} | {(NAIVE, row["batch"]) for row in pulls}
    return sum(
        evidence.blocks[block].split == "train" and (arm, evidence.blocks[block].batch) in met
        for arm, block in evidence.drawn
    )


def _arm(arm: ArmLine, evidence: Evidence, validation: Estimate | None) -> ArmReport:
    return ArmReport(
        id=arm.id,
        parent=arm.parent,
        origin=arm.origin,
        pulls=arm.pulls,
        blocks=arm.blocks,
        reward=evidence.estimate(evidence.rewards("train", arm.id)),
        validation=validation,
        best=arm.best,
        finalist=arm.finalist,
        retired=arm.retired,
        text=arm.text,
        gradient=evidence.gradients.get(arm.round, "") if arm.origin == "modifier" else "",
    )


# --- what to do next


def _commands(folder: RunFolder, details: RunDetails) -> tuple[tuple[str, str], ...]:
    name, home = folder.name, home_option(folder)
    if details.summary is not None:
        return (
            ("Refine a prompt of yours", f'brushup refine "your prompt" --run {name}{home}'),
            ("Take the instruction elsewhere", f"brushup export {name} --format text{home}"),
            ("Begin the next run with it", f"brushup optimize --from {name}{home}"),
            ("Every instruction and failure", f"brushup show {name}{home}"),
        )
    again = ("Make this page again", f"brushup report {name} -o report.html{home}")
    if details.status == "running":
        return (("Follow it", f"brushup show {name} --watch{home}"), again)
    return (("Go on", f"brushup resume {name}{home}"), again)


def home_option(folder: RunFolder) -> str:
    """Return the `--home` that a command about this run needs, "" for the default."""
    return "" if str(folder.home) == HOME else f" --home {shlex.quote(str(folder.home))}"

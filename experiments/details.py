"""Everything that `brushup show` tells about one run, recomputed from its facts."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bandit.pool import top
from bandit.rewards import paired
from bandit.statistics import arm_statistics, bounds, pooled_sd
from core.records import NAIVE, Estimate
from experiments.config import RunConfig, parse_config
from experiments.folder import RunFolder, read_json
from experiments.renderer_facts import smaller_chunks, stored_notes, stored_window
from experiments.status import Event, events, has_facts, pulse, reading, stored_summary
from experiments.unread import Unread, unread_prompts
from prompt_db.ledger import requests, totals
from prompt_db.run_store import RunStore


@dataclass(frozen=True)
class ArmLine:
    """An instruction with its lineage and evidence.

    Attributes:
        pulls: how often it was pulled, failed pulls included.
        blocks: train blocks with a paired reward.
        mean: mean paired reward over them (raw units), None without any.
        retired: it has left the pool.
        finalist: it was validated.
        best: the run's result; before the end, the pool's leader by lower bound.
    """

    id: str
    parent: str
    round: int
    origin: str
    pulls: int
    blocks: int
    mean: float | None
    retired: bool
    finalist: bool
    best: bool
    text: str


@dataclass(frozen=True)
class RunDetails:
    """One run. `scorer` is the one that is optimised, "" before the first score.

    `failures` counts by kind; `unknown_calls` were in flight when a process was killed. `requests` counts what was
    sent to the LLM provider by how it ended. `renderer` says what a user should know about it, `unread` which prompts
    are longer than the `window` of tokens that it reads.
    """

    name: str
    status: str
    rounds: int
    scorer: str = ""
    stop_reason: str | None = None
    pid: int | None = None
    heartbeat_age: float | None = None
    last_event: Event | None = None
    arms: tuple[ArmLine, ...] = ()
    failures: Mapping[str, int] = field(default_factory=dict)
    gradient: Mapping[str, Any] | None = None
    unknown_calls: tuple[Mapping[str, Any], ...] = ()
    ledger: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    renderer: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    window: int | None = None
    summary: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return asdict(self)


def run_details(folder: RunFolder, now: Callable[[], float] = time.time) -> RunDetails:
    """Return what there is to know about a run, also about one that lives or died.

    Raises:
        BadInput: its files are damaged, or of a newer schema.
    """
    beat = pulse(folder, now())
    if not has_facts(folder):
        return RunDetails(folder.name, beat.status, 0, heartbeat_age=beat.heartbeat_age)
    summary = stored_summary(folder)
    result = read_json(folder.instructions_file) if folder.instructions_file.is_file() else None
    with reading(folder) as store:
        [rounds] = store.rows("SELECT coalesce(max(round), 0) AS n FROM pull")
        gradients = store.rows("SELECT round, arm, text, error FROM gradient ORDER BY round DESC LIMIT 1")
        scorers = store.rows(
            "SELECT DISTINCT scorer FROM score JOIN block ON block.id = block_id WHERE split = 'train'"
        )
        unknown = store.rows("SELECT charge_id, kind, session FROM unknown_call ORDER BY id")
        return RunDetails(
            name=folder.name,
            status=beat.status,
            rounds=rounds["n"],
            scorer=next((row["scorer"] for row in scorers), ""),
            stop_reason=store.fact("stop_reason"),
            pid=beat.pid,
            heartbeat_age=beat.heartbeat_age,
            last_event=next(iter(events(folder, last=1)), None),
            arms=tuple(_arms(store, result)),
            failures=_failures(store),
            gradient=gradients[0] if gradients else None,
            unknown_calls=tuple(unknown),
            ledger=totals(store),
            requests=requests(store),
            renderer=(*stored_notes(store), *smaller_chunks(store)),
            unread=tuple(unread_prompts(store)),
            window=stored_window(store),
            summary=summary,
        )


def run_config(folder: RunFolder) -> RunConfig:
    """Return a run's configuration.

    Raises:
        BadInput: damaged, or of another version.
    """
    return parse_config(read_json(folder.config_file), source=str(folder.config_file))


def as_estimate(found: Mapping[str, Any]) -> Estimate:
    """Return an estimate from its form in `summary.json`."""
    low, high = found["ci95"]
    return Estimate(found["mean"], (low, high), found["n"])


def _arms(store: RunStore, result: Mapping[str, Any] | None) -> list[ArmLine]:
    arms = [i for i in store.instructions() if i.origin != "frequent"]
    table = _paired_rewards(store, [i.id for i in arms])
    statistics, retired = arm_statistics(table), store.retired()
    pulls = Counter(row["arm"] for row in store.rows("SELECT arm FROM pull"))
    pool = {arm: row for arm, row in table.items() if arm not in retired}
    best = [result["best"]] if result else top(bounds(pool, 1.0, pooled_sd(pool)), 1)
    validated = {
        row["arm"]
        for row in store.rows(
            "SELECT DISTINCT arm FROM score JOIN block ON block.id = block_id WHERE split = 'validation'"
        )
    }
    return [
        ArmLine(
            id=i.id,
            parent=i.parent,
            round=i.round,
            origin=i.origin,
            pulls=pulls[i.id],
            blocks=statistics[i.id].n,
            mean=statistics[i.id].mean,
            retired=i.id in retired,
            finalist=i.id in validated,
            best=i.id in best,
            text=i.text,
        )
        for i in arms
    ]


def _paired_rewards(store: RunStore, arms: list[str]) -> dict[str, dict[str, float]]:
    """Return each arm's paired rewards on the batches of its closed pulls; truth is never asked on train blocks."""
    told = {(row["arm"], row["batch"]) for row in store.rows("SELECT arm, batch FROM pull WHERE status = 'told'")}
    scores: dict[str, dict[str, float]] = {arm: {} for arm in [NAIVE, *arms]}
    for row in store.rows(
        "SELECT arm, batch, block_id, value FROM score JOIN block ON block.id = block_id"
        " WHERE split = 'train' AND value IS NOT NULL ORDER BY block_id"
    ):
        if row["arm"] == NAIVE or (row["arm"], row["batch"]) in told:
            scores[row["arm"]][row["block_id"]] = row["value"]
    naive = scores.pop(NAIVE)
    return {arm: dict(rewards) for arm, rewards in paired(scores, naive).items()}


def _failures(store: RunStore) -> dict[str, int]:
    """Count failures as `where: kind`: refinements and agents by their kind, renders and scores by their reason."""
    counts: Counter[str] = Counter()
    for where, sql in {
        "refine": "SELECT error FROM refinement WHERE error != ''",
        "render": "SELECT error FROM render WHERE error != ''",
        "score": "SELECT error FROM score WHERE error != ''",
        "critique": "SELECT error FROM gradient WHERE error != ''",
        "modify": "SELECT detail AS error FROM event WHERE node = 'modify-failed'",
        "pull": "SELECT 'no result' AS error FROM pull WHERE status = 'failed'",
    }.items():
        counts.update(f"{where}: {row['error'].partition(':')[0][:60]}" for row in store.rows(sql))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

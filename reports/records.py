"""What a page is made of: plain records, filled by `experiments.report.single` and `experiments.report.comparison`.

Numbers are raw; a page multiplies them by its `scale` (100 for HPSv2, as its papers do). Every text is untrusted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from core.records import Estimate


@dataclass(frozen=True)
class Verdict:
    """The first thing on a page: the command line's own sentence, further ones, and its tone.

    Attributes:
        text: one plain sentence.
        more: further sentences.
        tone: `better`, `worse`, `unclear` or `unfinished`.
    """

    text: str
    more: tuple[str, ...] = ()
    tone: str = "unclear"


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Shot:
    """One drawn prompt. Without a picture `problem` says why; `score` is raw."""

    prompt: str
    negative: str = ""
    picture: Picture | None = None
    score: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class GalleryRow:
    """A naive prompt drawn from several instructions' prompts on one seed, a shot for every column."""

    naive: str
    group: str
    seed: int
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; `note` says which prompts these are."""

    columns: tuple[str, ...]
    rows: tuple[GalleryRow, ...]
    note: str


@dataclass(frozen=True)
class TestLine:
    """A line of the test's table: a mean score, and how far the best instruction is ahead of it (None: itself)."""

    __test__ = False  # no test case, whatever pytest thinks of its name

    label: str
    mean: float
    failed: int
    lead: Estimate | None = None


@dataclass(frozen=True)
class GroupLine:
    """The gain on one group of naive prompts."""

    label: str
    gain: Estimate


@dataclass(frozen=True)
class DuelLine:
    """The winner minus a rival on the blocks of one split that both have met.

    Attributes:
        split: `train`, `validation` or `test`.
        blocks: shared blocks; `lead.n` is the number of prompts in them.
        lead: mean paired difference over prompts.
        wins: prompts on which the winner is ahead, seeds averaged.
        ties: prompts without a difference.
        losses: prompts on which the rival is ahead.
    """

    split: str
    blocks: int
    lead: Estimate
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Example:
    """A prompt on which the winner was far ahead or far behind.

    `lead` is the prompt's mean difference over its `seeds`; shown is the seed that lies nearest to it.
    """

    naive: str
    seed: int
    seeds: int
    lead: float
    ours: Shot
    theirs: Shot


@dataclass(frozen=True)
class Duel:
    """The winner against one rival. `roles` says who that is: parent, runner-up, initial instruction, your prompt."""

    rival: str
    roles: str
    lines: tuple[DuelLine, ...]
    shown: str
    won: tuple[Example, ...]
    lost: tuple[Example, ...]


@dataclass(frozen=True)
class PhraseLine:
    """A phrase that the best instruction adds: on how many `of` the prompts it and the initial one do."""

    text: str
    best: int
    initial: int
    of: int


@dataclass(frozen=True)
class RoundPoint:
    """The loop at the end of a round.

    Attributes:
        round: its number.
        renders: pictures asked for so far.
        leader: the arm with the highest lower bound so far.
        lead: that arm's reward over naive so far.
        pulls: the mean reward over naive of the round's own pulls.
    """

    round: int
    renders: int
    leader: str
    lead: Estimate
    pulls: Estimate


@dataclass(frozen=True)
class ArmReport:
    """An instruction with its evidence. `gradient` is what the Gradient Calculator said when it was written."""

    id: str
    parent: str
    origin: str
    pulls: int
    blocks: int
    reward: Estimate | None
    validation: Estimate | None
    best: bool
    finalist: bool
    retired: bool
    text: str
    gradient: str


@dataclass(frozen=True)
class WatchedLine:
    """What a watched scorer says of the test; `scale` is its own."""

    name: str
    scale: int
    naive: float
    best: float
    gain: Estimate


@dataclass(frozen=True)
class RunReport:
    """Everything that a run's page shows. What a run has not reached yet is empty or None."""

    name: str
    status: str
    verdict: Verdict
    scorer: str
    scale: int
    best: str
    best_text: str
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    test: tuple[TestLine, ...] = ()
    validation: Estimate | None = None
    groups: tuple[GroupLine, ...] = ()
    gallery: Gallery | None = None
    duels: tuple[Duel, ...] = ()
    phrases: tuple[PhraseLine, ...] = ()
    rounds: tuple[RoundPoint, ...] = ()
    arms: tuple[ArmReport, ...] = ()
    watched: tuple[WatchedLine, ...] = ()
    cost: str = ""
    ledger: tuple[tuple[str, str], ...] = ()
    failures: Mapping[str, int] | None = None
    circumstances: tuple[tuple[str, str], ...] = ()
    commands: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LevelLine:
    """One of the things that are compared: a policy, a batch size, a configuration, a run. None is unknown.

    Attributes:
        name: what it is called.
        runs: how many runs are behind it.
        gain: held-out gain of what it recommended, over naive.
        regret: what it lost against the best recommendation of all.
        renders_to_90: pictures of the loop until its recommendation had 90 % of the best gain.
        at_least: `renders_to_90` is a lower bound.
        censored: runs that never got there.
        renders: pictures of a run's loop.
        seconds: of a run as if it had been alone.
        groups: the gain by group of prompts; `GroupLine.gain.n` counts runs.
    """

    name: str
    runs: int
    gain: Estimate | None
    regret: float | None = None
    renders_to_90: float | None = None
    at_least: bool = False
    censored: int | None = None
    renders: float | None = None
    seconds: float | None = None
    groups: tuple[GroupLine, ...] = ()


@dataclass(frozen=True)
class PairLine:
    """One strategy minus another, on the same prompts or replicates; `p` is adjusted for many pairs, None unknown."""

    a: str
    b: str
    difference: Estimate
    p: float | None = None


@dataclass(frozen=True)
class CurvePoint:
    """After `x` pictures: a mean, with the band over runs (none: low = high = mean)."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """A critical-difference view (Demsar 2006, section 3.2.4).

    Attributes:
        positions: mean rank by level; 1 is best.
        groups: levels that cannot be told apart, each group joined by a bar.
        method: how both were found, in plain sentences.
    """

    positions: Mapping[str, float]
    groups: tuple[tuple[str, ...], ...]
    method: str


@dataclass(frozen=True)
class ComparisonTable:
    """Levels of one kind (`unit`: policy, batch size, configuration, run), compared with each other."""

    unit: str
    levels: tuple[LevelLine, ...]
    pairs: tuple[PairLine, ...] = ()
    pairs_note: str = ""
    curves: Mapping[str, tuple[CurvePoint, ...]] | None = None
    curves_note: str = ""
    ranking: Ranking | None = None


@dataclass(frozen=True)
class ComparisonRun:
    """A run behind a comparison."""

    name: str
    policy: str
    seed: int
    status: str
    best: str
    gain: Estimate | None
    renders: int


@dataclass(frozen=True)
class ComparisonReport:
    """Everything that a comparison's page shows."""

    name: str
    verdict: Verdict
    scale: int
    tables: tuple[ComparisonTable, ...]
    runs: tuple[ComparisonRun, ...] = ()
    gallery: Gallery | None = None
    warnings: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()

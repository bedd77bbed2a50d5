"""What the Gradient Calculator may see, and the tree of proposals that makes policies comparable.

With `loop.evidence = "all"` it sees every result of the run. With `"lineage"` the children of an instruction are a
function of the run's seed, of how the instruction came to be, and of how often it was expanded before: not of what
else a policy happened to pull. So two policies that expand the same instruction the same number of times get the same
children, whoever comes first, in whatever process (docs/decisions.md, "proposals of a comparison").

An instruction's history is the list of expansions that led to its next one: those on the way to its birth, then its
own earlier ones. Its evidence: the parent of the history's i-th expansion on its first i batches, the children of each
on their first batch, and the instruction itself on one batch more than its history is long. Where it has met fewer, it
is pulled until it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bandit.session import Bandit
from core.records import Instruction
from core.seeding import generator
from graph.workbench import Workbench
from prompt_db.run_store import RunStore

PullKey = tuple[str, int]
"""An arm and a batch."""


@dataclass(frozen=True)
class Expansion:
    """A parent whose children were born at the end of a round; they may be none."""

    round: int
    parent: str
    children: tuple[str, ...]


def expansions(store: RunStore) -> list[Expansion]:
    """Return the run's expansions so far, oldest first."""
    born = [instruction for instruction in store.instructions() if instruction.origin == "modifier"]
    rows = store.rows("SELECT round, arm FROM gradient ORDER BY round")
    return [
        Expansion(row["round"], row["arm"], tuple(child.id for child in born if child.round == row["round"]))
        for row in rows
    ]


def history(
    known: dict[str, Instruction], steps: Sequence[Expansion], arm: str, before: int | None = None
) -> list[Expansion]:
    """Return the expansions that led to an arm's next one, or to the one of round `before`."""
    born = known[arm]
    birth = [step for step in steps if born.parent and step.round == born.round]
    led = history(known, steps, born.parent, born.round) + birth if birth else []
    return led + [step for step in steps if step.parent == arm and (before is None or step.round < before)]


def lineage_name(known: dict[str, Instruction], steps: Sequence[Expansion], arm: str) -> str:
    """Return an arm's place in the tree of proposals, the same in every run of one seed."""
    born = known[arm]
    if not born.parent:
        return arm
    turn = sum(step.parent == born.parent and step.round < born.round for step in steps)
    return f"{lineage_name(known, steps, born.parent)}/{turn}.{born.child}"


def seed_name(store: RunStore, kind: str, arm: str) -> str:
    """Return what an arm's refinements are seeded by: its id, or its place in the tree of proposals.

    Args:
        store: the run's facts.
        kind: `loop.evidence`.
        arm: the instruction's id.
    """
    if kind == "all":
        return arm
    return lineage_name({instruction.id: instruction for instruction in store.instructions()}, expansions(store), arm)


def expansion_name(bench: Workbench, parent: str, round_: int) -> str:
    """Return what an expansion is seeded by: its round, or its place in the tree of proposals."""
    if bench.plan.evidence == "all":
        return str(round_)
    steps = [step for step in expansions(bench.store) if step.round < round_]
    turn = sum(step.parent == parent for step in steps)
    return f"{lineage_name(bench.instructions(), steps, parent)}/{turn}"


def relatives(bench: Workbench, parent: str, round_: int) -> set[str]:
    """Return the arms of which a child born in this round may not be a copy: all there are, or the history's."""
    known = bench.instructions()
    if bench.plan.evidence == "all":
        return {arm.id for arm in known.values() if arm.round < round_ or arm.origin != "modifier"}
    past = history(known, expansions(bench.store), parent, round_)
    return {parent, *(arm for step in past for arm in (step.parent, *step.children))}


def evidence(store: RunStore, kind: str, parent: str, round_: int) -> list[PullKey]:
    """Return the pulls whose results the Gradient Calculator sees when `parent` is expanded in this round.

    Args:
        store: the run's facts; what came after the expansion makes no difference.
        kind: `loop.evidence`.
        parent: the instruction that is expanded.
        round_: the round at whose end it is.
    """
    if kind == "all":
        sql = "SELECT arm, batch FROM pull WHERE status = 'told' AND round <= ? ORDER BY round DESC, k DESC"
        return [(row["arm"], row["batch"]) for row in store.rows(sql, [round_])]
    known = {instruction.id: instruction for instruction in store.instructions()}
    past = history(known, expansions(store), parent, round_)
    pulls = [(parent, batch) for batch in range(len(past) + 1)]
    for place in reversed(range(len(past))):
        pulls += [(child, 0) for child in past[place].children]
        pulls += [(past[place].parent, batch) for batch in range(place + 1)]
    return list(dict.fromkeys(pulls))


def choose_parent(bench: Workbench, bandit: Bandit, round_: int) -> str:
    """Return the arm that the policy wants to expand at the end of this round, "" without any result."""
    return bandit.select_parent(generator(bench.plan.seed, "parent", round_)) or ""


def unready_parent(bench: Workbench, bandit: Bandit, round_: int) -> str:
    """Return the chosen parent while it has met fewer batches than its evidence needs, else ""."""
    if bench.plan.evidence == "all":
        return ""
    parent = choose_parent(bench, bandit, round_)
    needed = 1 + len(history(bench.instructions(), expansions(bench.store), parent, round_))
    return parent if bandit.pulls(parent) < needed else ""

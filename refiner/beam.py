"""Which unfinished hypotheses of a NeuroLogic search are kept: groups, turns, pruning. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from refiner.clauses import Verdict

Path = tuple[tuple[int, int], ...]
"""Terms under way: (place in `refiner.steering.Guide.surfaces`, tokens of it that the text ends with)."""


@dataclass(frozen=True)
class Node:
    """An unfinished hypothesis.

    Attributes:
        row: its own in the model, or, before it was read, its parent's.
        tokens: the continuation.
        logprob: of the continuation.
        text: of the continuation.
        verdict: on prefix and continuation.
        wanted: clauses that may be met next.
        path: wanted terms under way.
        risk: terms under way that may occur a limited number of times, or never.
        under_way: the clause whose wanted term is furthest along, and its share; (-1, 0) without one.
        ahead: what look-ahead adds to `logprob` in selection.
    """

    row: int
    tokens: tuple[int, ...]
    logprob: float
    text: str
    verdict: Verdict
    wanted: tuple[int, ...]
    path: Path = ()
    risk: Path = ()
    under_way: tuple[int, float] = (-1, 0.0)
    ahead: float = 0.0

    @property
    def value(self) -> float:
        """What selection compares within a group; all nodes of a search have the same length."""
        return self.logprob + self.ahead

    @property
    def met(self) -> int:
        """Number of clauses met."""
        return sum(self.verdict.met)


def select(nodes: Sequence[Node], width: int, tolerance: int) -> list[Node]:
    """Return at most `width` nodes: group by group in turns, the best of each first.

    Nodes that meet too few clauses, and those that break an upper bound unless their last word goes on, come after all
    others.
    """
    fewest = max((node.met for node in nodes), default=0) - tolerance
    prompt = [node for node in nodes if node.met >= fewest and not node.verdict.doubtful]
    late = [node for node in nodes if node.met < fewest or node.verdict.doubtful]
    return (_in_turns(prompt) + _in_turns(late))[:width]


def _in_turns(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes in rounds: in each the best one left of every group.

    The nodes of a group meet the same clauses, have the same clause under way, and are alike in whether a term is
    under way that may be forbidden. The best is the one furthest along with its term, then the likeliest: a new start
    is always likelier than one that has paid for half of a rare term. Of the groups, first come those that meet more,
    then those without risk; among these the one furthest along, then the one with no term under way.
    """
    groups: dict[tuple[tuple[bool, ...], int, bool], list[Node]] = {}
    for node in sorted(nodes, key=lambda node: (-node.under_way[1], -node.value, node.tokens)):
        groups.setdefault((node.verdict.met, node.under_way[0], bool(node.risk)), []).append(node)
    farthest = max((node.under_way[1] for node in nodes), default=0.0)

    def order(group: Sequence[Node]) -> tuple[int, bool, bool, bool, float]:
        clause, share = group[0].under_way
        return -group[0].met, bool(group[0].risk), share < farthest, clause >= 0, -group[0].value

    return [node for turn in zip_longest(*sorted(groups.values(), key=order)) for node in turn if node is not None]

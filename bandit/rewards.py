"""From raw scores to what a learner receives. The raw scores stay the facts; rewards are always derived again."""

from collections.abc import Callable, Mapping

from core.interfaces import Table

Scores = Mapping[str, float]
"""Raw scorer values of one arm by block id."""


def paired(scores: Mapping[str, Scores], naive: Scores) -> Table:
    """Return score(arm, block) - score(naive, block); a block that lacks either is left out.

    The difference cancels what the block (naive prompt and diffusion seed) does to every arm alike, so arms that
    met different blocks can be compared with less noise.
    """
    return {
        arm: {block: value - naive[block] for block, value in row.items() if block in naive}
        for arm, row in scores.items()
    }


def score(scores: Mapping[str, Scores], naive: Scores) -> Table:  # noqa: ARG001 - one signature for all of REWARDS
    """Return the raw scores as they are: the setting of 2406.08713."""
    return {arm: dict(row) for arm, row in scores.items()}


REWARDS: dict[str, Callable[[Mapping[str, Scores], Scores], Table]] = {"paired": paired, "score": score}
"""Values of `--reward`."""

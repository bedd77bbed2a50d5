"""Our loop's selection in a world of `make peers`: `bandit.session.Bandit` as a run drives it, with another oracle."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bandit import POLICIES, PolicySettings
from bandit.session import Bandit
from bandit.view import view_of
from benchmarks.peers_world import INITIAL, NAIVE, World
from core.seeding import generator


@dataclass(frozen=True)
class Ours:
    """Settings of the loop; the defaults are those of a run (`experiments.config`).

    Attributes:
        policy: a key of `bandit.POLICIES`.
        batch: blocks a pull.
        children: new instructions an expansion.
        pulls: pulls a round.
        cap: most arms in the pool.
        recommend: `bound`, the run's leader, `posterior`, the highest posterior mean, or `lineage`, the same where a
            child's prior is its parent (`bandit.posterior.lineage`).
        parent: whose children are born: `policy`, as the run's policy chooses, or `best`, the recommendation.
        paired: whether arms meet common blocks.
        naive: whether the naive picture of every new block is drawn, and charged, as a run does.
        c: the policy's exploration constant.
    """

    policy: str = "ucb1"
    batch: int = 4
    children: int = 2
    pulls: int = 6
    cap: int = 12
    recommend: str = "bound"
    parent: str = "policy"
    paired: bool = True
    naive: bool = True
    c: float = 0.3

    def __call__(self, world: World, target: float, limit: int) -> int | None:
        """Return the pictures until the recommendation is worth `target`, None when `limit` comes first."""
        settings = PolicySettings(c=self.c, budget=limit)
        bandit = Bandit(POLICIES[self.policy](settings), reward="paired" if self.naive else "score", arms=["0"])
        number = 0
        while world.renders < limit:
            for _ in range(self.pulls):
                number += 1
                self._pull(bandit, world, f"p{number}")
                if world.worth(self.recommended(bandit)) >= target:
                    return world.renders
            parent = self.recommended(bandit)
            if self.parent == "policy":
                parent = bandit.select_parent(generator("parent", world.number, number)) or INITIAL
            for _ in range(self.children):
                bandit.add(world.child(parent))
            bandit.retire(self.cap)
        return None

    def recommended(self, bandit: Bandit) -> str:
        """Return the arm that the loop would hand over now."""
        if self.recommend == "bound":
            return bandit.leader() or INITIAL
        table = {arm: row for arm, row in bandit.table().items() if row}
        view = view_of(table, _parents(table) if self.recommend == "lineage" else None)
        return view.arms[int(np.argmax(view.posterior.mean[0]))]

    def _pull(self, bandit: Bandit, world: World, pull_id: str) -> None:
        pull = bandit.ask(pull_id, generator("policy", world.number, pull_id))
        own = "" if self.paired else f" {pull.arm}"
        blocks = [f"{pull.batch}.{place}{own}" for place in range(self.batch)]
        scores = dict(zip(blocks, world.scores(pull.arm, blocks), strict=True))
        fresh = [block for block in blocks if self.naive and block not in bandit.naive]
        bandit.tell(pull.id, scores, dict(zip(fresh, world.scores(NAIVE, fresh), strict=True)))


def _parents(arms: Iterable[str]) -> dict[str, str]:
    """Return every ancestor's parent too: an instruction's name is its path."""
    paths = [arm.split(".") for arm in arms]
    return {".".join(p[:k]): ".".join(p[: k - 1]) for p in paths for k in range(2, len(p) + 1)}

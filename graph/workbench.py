"""What the nodes work with: everything that has side effects, handed in as LangGraph's runtime context."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bandit.session import Bandit, PullFact
from core.interfaces import (
    BanditPolicy,
    GradientCalculator,
    InstructionModifier,
    Refiner,
    Renderer,
    Scorer,
)
from core.pricing import CallCost
from core.progress import Progress
from core.records import NAIVE, Block, Instruction, Prompt, Pull
from prompt_db.cache_store import CacheStore
from prompt_db.ledger import Ledger
from prompt_db.run_store import RunStore
from rendering.cache import ImageCache

INITIAL = "r0c0"
"""Id of the initial instruction; further ones that the user brings are r0c1, r0c2, ..."""
FREQUENT = "frequent"
"""Id of the instruction made of the corpus's most frequent phrases: a reference of the test, never in the pool."""


@dataclass(frozen=True)
class LoopPlan:
    """The loop's numbers; `experiments.config` documents each."""

    seed: int
    holdout_seed: int
    rounds: int
    batch_size: int
    children: int
    pulls_per_round: int
    pool_cap: int
    validation_prompts: int
    test_prompts: int
    test_seeds: int
    top: int = 3
    exemplars: int = 12
    reward: str = "paired"
    gradient: str = "full"
    evidence: str = "all"


class ExemplarSearch(Protocol):
    """Finds professional prompts for naive ones."""

    def __call__(self, naive_prompts: Sequence[str], k: int) -> list[str]:
        """Return at most `k` professional prompts, best match first."""
        ...


@dataclass
class Workbench:
    """The tools of one run in one process."""

    plan: LoopPlan
    store: RunStore
    cache: CacheStore
    images: ImageCache
    ledger: Ledger
    renderer: Renderer
    scorer: Scorer
    refiner_of: Callable[[Instruction], Refiner]
    gradient: GradientCalculator
    modifier: InstructionModifier
    exemplars: ExemplarSearch
    policy: BanditPolicy
    progress: Progress
    session: int
    watched: Sequence[Scorer] = ()
    refine_cost: Callable[[Instruction, str], CallCost] = lambda instruction, naive: CallCost()  # noqa: ARG005
    """What refining one naive prompt costs at most; asked only when tokens or USD are capped."""
    free_llm: Callable[[], Awaitable[None]] | None = None
    """Called before pictures are drawn: frees the memory that a local LLM holds."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def prompts(self, split: str) -> list[Prompt]:
        """Return a split's prompts."""
        return self.store.prompts(split)

    def instructions(self) -> dict[str, Instruction]:
        """Return every arm's instruction by id (arm 0, the identity, has none)."""
        return {instruction.id: instruction for instruction in self.store.instructions()}

    def pool_arms(self) -> list[str]:
        """Return the ids of all arms that ever joined the pool, in order of birth."""
        return [i.id for i in self.store.instructions() if i.origin != "frequent"]

    def bandit(self, *, before: str = "") -> Bandit:
        """Rebuild the bandit from the run's facts; the pull named `before` (decided again after a kill) is left out."""
        scores = self.store.raw_scores(self.scorer.name, "train")
        pulls = self.store.rows("SELECT * FROM pull ORDER BY round, k")
        facts = []
        for row in pulls:
            if row["id"] == before:
                continue
            batch = {
                block: value
                for block, value in scores.get(row["arm"], {}).items()
                if block.startswith(f"train/{row['batch']}.")
            }
            done, failed = row["status"] == "told", row["status"] == "failed"
            facts.append(
                PullFact(
                    Pull(row["id"], row["arm"], row["batch"]),
                    scores=batch if done else None,
                    error=(row["reason"] or "failed") if failed else "",
                )
            )
        return Bandit.replay(
            self.policy, self.plan.reward, self.pool_arms(), facts, scores.get(NAIVE, {}), self.store.retired()
        )

    def event(self, node: str, round_: int, work: str = "", detail: str = "") -> None:
        """Append to the run's event log, which other processes follow."""
        self.store.append(
            "event",
            {"session": self.session, "at": time.time(), "node": node, "round": round_, "work": work, "detail": detail},
        )

    def pairs(self, arms: Sequence[str], blocks: Sequence[Block]) -> list[tuple[str, Block]]:
        """Return every (arm, block) of a piece of work, arm by arm."""
        return [(arm, block) for arm in arms for block in blocks]

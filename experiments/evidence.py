"""A run's facts as tables, read once, for whoever explains its result (also while it lives, or after it died)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bandit.rewards import paired
from core.records import NAIVE, Block, Estimate, Instruction, Prompt
from experiments.config import RunConfig
from experiments.folder import RunFolder
from experiments.paired import estimate, lead
from experiments.status import reading
from prompt_db.run_store import Row, RunStore


@dataclass(frozen=True)
class Evidence:
    """What a run has stored so far.

    Attributes:
        seeds: of the bootstrap by split, those of `graph.decide.winner` and of the test.
        instructions: by id, every one ever born and the frequent-phrases rival.
        gradients: textual gradients by round.
        pulls: the closed pulls, in order (round, k, arm, batch).
        prompts: by id.
        blocks: by id.
        scores: raw scores of the optimised scorer by arm and block; of train blocks those of closed pulls.
        drawn: renders (key, prompt, negative, error) by arm and block.
    """

    seeds: Mapping[str, int]
    instructions: Mapping[str, Instruction]
    gradients: Mapping[int, str]
    pulls: tuple[Row, ...]
    prompts: Mapping[str, Prompt]
    blocks: Mapping[str, Block]
    scores: Mapping[str, Mapping[str, float]]
    drawn: Mapping[tuple[str, str], Row]

    def rewards(self, split: str, arm: str) -> dict[str, float]:
        """Return an arm's scores minus the naive prompts', by block."""
        mine = self.scored(split, arm)
        return dict(paired({arm: mine}, self.scores.get(NAIVE, {}))[arm])

    def scored(self, split: str, arm: str) -> dict[str, float]:
        """Return an arm's raw scores on a split's blocks."""
        return {b: value for b, value in self.scores.get(arm, {}).items() if self.blocks[b].split == split}

    def lead(self, split: str, arm: str, rival: str) -> dict[str, float]:
        """Return an arm's scores minus a rival's on the blocks of a split that both have met."""
        return lead(self.scored(split, arm), self.scored(split, rival))

    def estimate(self, values: Mapping[str, float]) -> Estimate | None:
        """Return the mean over prompts of values on blocks of one split, with its interval; None without values."""
        if not values:
            return None
        split = self.blocks[next(iter(values))].split
        return estimate(values, {block: self.blocks[block].prompt_id for block in values}, self.seeds[split])

    def rounds(self) -> Iterator[tuple[int, list[Row], list[Row]]]:
        """Yield each round with its closed pulls and all closed pulls so far."""
        for number in sorted({row["round"] for row in self.pulls}):
            so_far = [row for row in self.pulls if row["round"] <= number]
            yield number, [row for row in so_far if row["round"] == number], so_far

    def table(self, pulls: list[Row]) -> dict[str, dict[str, float]]:
        """Return the rewards over naive by arm and block that these pulls have brought."""
        batches: dict[str, set[int]] = {}
        for row in pulls:
            batches.setdefault(row["arm"], set()).add(row["batch"])
        return {
            arm: {b: value for b, value in self.rewards("train", arm).items() if self.blocks[b].batch in mine}
            for arm, mine in batches.items()
        }


NOTHING = Evidence({}, {}, {}, (), {}, {}, {}, {})
"""The evidence of a run that has not scored anything yet."""


def gather(folder: RunFolder, config: RunConfig, scorer: str) -> Evidence:
    """Read a run's facts. What refers to others is read first, so that a row written meanwhile is merely absent.

    Args:
        folder: a run that has facts.
        config: its configuration.
        scorer: name of the optimised scorer.

    Raises:
        BadInput: damaged, or of a newer schema.
    """
    with reading(folder) as store:
        pulls = store.rows("SELECT round, k, arm, batch FROM pull WHERE status = 'told' ORDER BY round, k")
        scores = store.raw_scores(scorer)
        drawn = _drawn(store)
        gradients = {row["round"]: row["text"] for row in store.rows("SELECT round, text FROM gradient")}
        instructions = {instruction.id: instruction for instruction in store.instructions()}
        blocks = store.all_blocks()
        prompts = {prompt.id: prompt for prompt in store.prompts()}
    told = {(row["arm"], row["batch"]) for row in pulls}

    def counts(arm: str, block: Block) -> bool:
        return arm == NAIVE or block.split != "train" or (arm, block.batch) in told

    return Evidence(
        seeds={"train": config.run.seed, "validation": config.run.seed, "test": config.run.holdout_seed},
        instructions=instructions,
        gradients=gradients,
        pulls=tuple(pulls),
        prompts=prompts,
        blocks=blocks,
        scores={arm: {b: v for b, v in row.items() if counts(arm, blocks[b])} for arm, row in scores.items()},
        drawn=drawn,
    )


def _drawn(store: RunStore) -> dict[tuple[str, str], dict[str, Any]]:
    negative = "negative" if store.has_column("render", "negative") else "'' AS negative"  # not in older runs
    found = store.rows(f"SELECT arm, block_id, key, prompt, {negative}, error FROM render")
    return {(row["arm"], row["block_id"]): row for row in found}

"""One of several runs that are looked at together: its configuration, its result and its facts, read-only."""

from dataclasses import dataclass
from statistics import fmean

from core.records import Estimate
from experiments.config import RunConfig
from experiments.details import RunDetails, as_estimate, run_config, run_details
from experiments.evidence import NOTHING, Evidence, gather
from experiments.folder import RunFolder
from experiments.paired import by_prompt


@dataclass(frozen=True)
class Member:
    """A run."""

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
    """Return a run.

    Raises:
        BadInput: its files are damaged, or of a newer schema.
    """
    config, details = run_config(folder), run_details(folder)
    return Member(folder, config, details, gather(folder, config, details.scorer) if details.scorer else NOTHING)

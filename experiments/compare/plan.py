"""What a comparison consists of: tables whose levels are run configurations, and one run per level and replicate."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandit import POLICIES
from core.errors import BadInput
from experiments.config import RunConfig, parse_config
from experiments.data import run_prompts
from experiments.folder import check_name
from experiments.start import checked_config
from experiments.wiring import loop_plan
from graph.budget import reserved_evaluation


@dataclass(frozen=True)
class Cell:
    """One run of a comparison: a variant (named by what sets it apart) in one replicate."""

    variant: str
    replicate: int
    config: RunConfig

    @property
    def run(self) -> str:
        """The run's name in the comparison's folder."""
        return f"{self.variant}-r{self.replicate}"


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Attributes:
        tables: `policies`, `batch_sizes` or `configs`: level -> variant, in the order to be shown.
        variants: configuration of each variant, for replicate 0.
        replicates: how many independent repetitions.
        budget_renders: most pictures of the loop; None: as the configurations say.
    """

    tables: Mapping[str, Mapping[str, str]]
    variants: Mapping[str, RunConfig]
    replicates: int
    budget_renders: int | None

    def cells(self, jobs: int = 1) -> list[Cell]:
        """Return all runs; those that are worked on side by side are of different replicates, so they share little."""
        order = [
            Cell(name, replicate, _replicate(config, replicate))
            for start in range(0, self.replicates, jobs)
            for name, config in self.variants.items()
            for replicate in range(start, min(start + jobs, self.replicates))
        ]
        for cell in order:
            check_name(cell.run)
        return order


def make_plan(
    home: Path,
    files: Sequence[Path],
    *,
    policies: Sequence[str],
    batch_sizes: Sequence[int],
    replicates: int,
    budget_renders: int | None,
    own_proposals: bool = False,
) -> Plan:
    """Lay out a comparison of policies and batch sizes under one configuration, or of several configurations.

    Policies are compared at the configuration's batch size, batch sizes under the configuration's policy; with neither
    given, all policies are compared. In both the budget alone ends the loop, and the children of an instruction do not
    depend on the policy (`loop.evidence = "lineage"`), unless proposals are to be each run's own ("all"). Several
    configurations are compared as they are.

    Raises:
        BadInput: a configuration, a policy, a batch size or the budget cannot be used.
    """
    if replicates < 1:
        raise BadInput(f"--replicates is {replicates}; expected at least 1")
    configs = {file.stem: checked_config(home, file, {}) for file in files}
    if len(configs) != len(files):
        raise BadInput("two of the configuration files have one name; rename one, its name is its label in the tables")
    if len(files) == 1:
        [base] = configs.values()
        if budget_renders is None:
            raise BadInput("--budget-renders is missing; policies are compared at equal budgets: give one, e.g. 400")
        chosen = policies or ([] if batch_sizes else list(POLICIES))
        base = _changed(base, loop={"evidence": "all" if own_proposals else "lineage"})
        tables, variants = _one_factor(base, chosen, batch_sizes, budget_renders)
    elif policies or batch_sizes:
        raise BadInput(
            f"{len(files)} configurations were given with --policies or --batch-sizes; give one or the other"
        )
    else:
        tables, variants = {"configs": {name: name for name in configs}}, configs
    final = {name: _budgeted(config, budget_renders) for name, config in variants.items()}
    return Plan(tables, final, replicates, budget_renders)


def _one_factor(
    base: RunConfig, policies: Sequence[str], sizes: Sequence[int], budget: int
) -> tuple[dict[str, dict[str, str]], dict[str, RunConfig]]:
    unknown = [name for name in policies if name not in POLICIES]
    if unknown:
        raise BadInput(f"--policies has {unknown[0]!r}; expected some of: {', '.join(POLICIES)}")
    born = base.run.children + len(base.agents.instructions)
    if base.pulls_per_round <= born:
        raise BadInput(
            f"run.pulls_per_round is {base.pulls_per_round}; expected more than the {born} new instructions a round, "
            "so that each is tried before the next are born"
        )
    tables: dict[str, dict[str, str]] = {}
    variants: dict[str, RunConfig] = {}

    def add(table: str, level: str, policy: str, size: int) -> None:
        name = f"{policy}-b{size}"
        tables.setdefault(table, {})[level] = name
        rounds = math.ceil(budget / max(1, base.pulls_per_round * size))  # more than the budget can pay
        variants[name] = _changed(
            base,
            run={"batch_size": size, "rounds": min(max(1, rounds), 1000)},
            bandit={"policy": policy},
        )

    for policy in dict.fromkeys(policies):
        add("policies", policy, policy, base.run.batch_size)
    for size in dict.fromkeys(sizes):
        add("batch_sizes", str(size), base.bandit.policy, size)
    return tables, variants


def _budgeted(config: RunConfig, budget: int | None) -> RunConfig:
    """Return a variant's configuration: the budget is the loop's, validation and test come on top of it."""
    changes: dict[str, dict[str, Any]] = {"storage": {"cache": "home"}}
    if config.score.watch is None:
        changes["score"] = {"watch": []}
    if config.render.threads is None:  # part of a picture's identity: it must not depend on --jobs
        changes["render"] = {"threads": 1}
    if budget is not None:
        least = 2 * config.run.batch_size
        if budget < least:
            raise BadInput(
                f"--budget-renders is {budget}; a pull of {config.run.batch_size} blocks takes {least}: raise it"
            )
        evaluation = reserved_evaluation(loop_plan(config, run_prompts(config)), frequent=True)
        changes["budget"] = {"max_renders": budget + evaluation["render"]}
    return _changed(config, **changes)


def _replicate(config: RunConfig, replicate: int) -> RunConfig:
    """Return the configuration of a replicate: other splits, batches, diffusion seeds and held-out prompts."""
    seeds = {"seed": config.run.seed + replicate, "holdout_seed": config.run.holdout_seed + replicate}
    return _changed(config, run=seeds)


def _changed(config: RunConfig, **sections: Mapping[str, Any]) -> RunConfig:
    raw = config.model_dump(mode="json")
    for section, values in sections.items():
        raw[section] |= values
    return parse_config(raw, source="the comparison")

"""gepa and promptolution in a world of `make peers`: only their language model and their scorer are replaced.

Runs in `.venv-peers/`. A method is a callable (world, target, limit) -> pictures, None when the limit came first. The
worth of its own recommendation is looked at where the library lets one look: between two of its steps.
"""

import logging
import random
import re
from dataclasses import dataclass
from typing import Any

import gepa
import numpy as np
import pandas as pd
from gepa.core.adapter import EvaluationBatch
from promptolution.llms.base_llm import BaseLLM
from promptolution.optimizers.capo import CAPO
from promptolution.optimizers.evoprompt_ga import EvoPromptGA
from promptolution.optimizers.opro import OPRO
from promptolution.predictors.base_predictor import BasePredictor
from promptolution.tasks.reward_tasks import RewardTask
from promptolution.utils.callbacks import BaseCallback
from promptolution.utils.prompt import Prompt

from benchmarks.peers_world import INITIAL, World

logging.disable(logging.CRITICAL)


@dataclass(frozen=True)
class Gepa:
    """gepa 0.1.x; `examples` is the size of the train set, which is also its validation set by default."""

    examples: int = 60
    minibatch: int | None = None
    validation: int | None = None
    selection: str = "pareto"

    def __call__(self, world: World, target: float, limit: int) -> int | None:
        """Return the pictures until the recommendation is worth `target`."""
        found: list[int] = []

        def stop(state: Any) -> bool:
            best = int(np.argmax(state.program_full_scores_val_set))
            if world.worth(state.program_candidates[best]["instruction"]) >= target:
                found.append(world.renders)
            return bool(found) or world.renders >= limit

        gepa.optimize(
            seed_candidate={"instruction": INITIAL},
            trainset=[f"t{i}" for i in range(self.examples)],
            valset=[f"v{i}" for i in range(self.validation)] if self.validation else None,
            adapter=_Adapter(world),
            candidate_selection_strategy=self.selection,
            reflection_minibatch_size=self.minibatch,
            custom_candidate_proposer=lambda candidate, *_, **__: {
                "instruction": world.child(candidate["instruction"])
            },
            skip_perfect_score=False,
            stop_callbacks=[stop],
            logger=_Silent(),
            seed=world.number,
        )
        return found[0] if found else None


class _Silent:
    def log(self, message: str) -> None:
        """Say nothing."""


class _Adapter:
    """Scores examples through the oracle."""

    propose_new_texts = None

    def __init__(self, world: World) -> None:
        self._world = world

    def evaluate(self, batch: list[str], candidate: dict[str, str], capture_traces: bool = False) -> EvaluationBatch:
        scores = self._world.scores(candidate["instruction"], batch)
        traces = [{"example": example} for example in batch] if capture_traces else None
        return EvaluationBatch(outputs=list(batch), scores=scores, trajectories=traces)

    def make_reflective_dataset(self, candidate: Any, eval_batch: Any, components_to_update: list[str]) -> Any:  # noqa: ARG002
        return {name: [{"Feedback": "score"}] for name in components_to_update}


@dataclass(frozen=True)
class Promptolution:
    """CAPO, EvoPromptGA or OPRO of promptolution 2.3.x.

    Attributes:
        method: `capo`, `ga` or `opro`.
        examples: rows of the data set.
        subsample: rows a block (`n_subsamples`).
        strategy: promptolution's `eval_strategy`.
        population: initial instructions: `0` and its children.
        options: further arguments of the optimiser.
    """

    method: str
    examples: int = 60
    subsample: int = 30
    strategy: str = "full"
    population: int = 10
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, world: World, target: float, limit: int) -> int | None:
        """Return the pictures until the recommendation is worth `target`."""
        random.seed(world.number)
        np.random.seed(world.number)  # noqa: NPY002 - the library draws from the global generator
        watch = _Watch(world, target, limit)
        optimiser = self._optimiser(world, watch)
        optimiser.optimize(10**6)
        return watch.found

    def _optimiser(self, world: World, watch: "_Watch") -> Any:
        task = RewardTask(
            pd.DataFrame({"x": [f"x{i}" for i in range(self.examples)]}),
            reward_function=lambda said: world.score(*said.split("\n")),
            task_description="",
            n_subsamples=self.subsample,
            eval_strategy=self.strategy,
            seed=world.number,
        )
        initial = [INITIAL, *(world.child(INITIAL) for _ in range(self.population - 1))]
        common = {
            "predictor": _Predictor(_Downstream()),
            "task": task,
            "initial_prompts": initial,
            "callbacks": [watch],
        }
        options = dict(self.options)
        if self.method == "capo":
            few = pd.DataFrame({"x": []})
            return CAPO(
                **common,
                meta_llm=_Proposer(world),
                crossover_template="<mother>",
                mutation_template="child of <instruction>",
                upper_shots=0,
                length_penalty=0.0,
                check_fs_accuracy=False,
                create_fs_reasoning=False,
                df_few_shots=few,
                **options,
            )
        if self.method == "ga":
            return EvoPromptGA(**common, meta_llm=_Proposer(world), prompt_template="child of <prompt1>", **options)
        return OPRO(**common, meta_llm=_Proposer(world), prompt_template="<instructions>", **options)


class _Watch(BaseCallback):
    """Looks at the recommendation after every step, and at the worth of what was known before the first."""

    def __init__(self, world: World, target: float, limit: int) -> None:
        self._world, self._target, self._limit = world, target, limit
        self.found: int | None = None

    def on_step_end(self, optimizer: Any) -> bool:
        best = _path(str(optimizer.prompts[0]))
        if self._world.worth(best) >= self._target:
            self.found = self._world.renders
        return self.found is None and self._world.renders < self._limit

    def on_train_end(self, optimizer: Any) -> bool:  # noqa: ARG002
        return True


class _Downstream(BaseLLM):
    """Says what it is asked: the instruction and the example reach the reward function."""

    def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:  # noqa: ARG002
        return [f"{_path(prompt)}\n{prompt.splitlines()[-1]}" for prompt in prompts]


class _Predictor(BasePredictor):
    def _extract_preds(self, preds: list[str]) -> list[str]:
        return preds


class _Proposer(BaseLLM):
    """The language model that writes instructions: the next child of the parent that it is shown.

    A crossover hands its first parent on (the mutation that follows makes the child); OPRO's list of instructions,
    worst first, gets a child of its best.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:  # noqa: ARG002
        return [f"<prompt>{self._answer(prompt)}</prompt>" for prompt in prompts]

    def _answer(self, prompt: str) -> str:
        parent = _path(prompt)
        return self._world.child(parent) if "child of" in prompt or "score:" in prompt else parent


def _path(text: str) -> str:
    """Return the last instruction that stands alone on a line."""
    return re.findall(r"(?m)^(?:child of )?(0(?:\.\d+)*)$", text)[-1]


def race(world: World, arms: list[str], subsample: int, blocks: int, alpha: float) -> str:
    """Let CAPO's racing choose one of the arms: its own `_do_racing`, on blocks of `subsample` examples."""
    racing = Promptolution(
        "capo",
        examples=subsample * blocks,
        subsample=subsample,
        strategy="sequential_block",
        population=1,
        options=(("alpha", alpha), ("max_n_blocks_eval", blocks)),
    )
    optimiser = racing._optimiser(world, _Watch(world, np.inf, 10**9))
    optimiser.max_prompt_length = 1
    [survivor], _ = optimiser._do_racing([Prompt(arm) for arm in arms], 1)
    return _path(str(survivor))

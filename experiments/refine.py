"""Using what a run found: refining new prompts with one of its instructions, without any picture model."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.generator import LLMRefiner
from core.errors import BadInput
from core.interfaces import ChatModel
from core.records import Instruction, Refinement
from core.scope import call_scope
from core.seeding import derive_seed
from core.text import digest, text_id
from experiments.answers import Source
from experiments.config import AgentsSection, RunConfig
from experiments.details import run_config
from experiments.folder import RunFolder, existing_folder
from experiments.renderer_facts import stored_window
from experiments.result import finished, run_templates
from experiments.status import has_facts, reading
from experiments.wiring import agent_settings, load_chat, open_library, refiner_factory
from graph.lineage import seed_name
from prompt_db.importers import MAX_CHARACTERS

_BATCH = 16
"""Prompts an LLM is asked about before the answers are written: a kill costs at most so many calls."""


@contextmanager
def run_source(
    home: Path,
    run: str,
    *,
    instruction: str | None = None,
    llm: str | None = None,
    api_base: str | None = None,
    n: int = 1,
) -> Iterator[Source]:
    """Yield a source that refines as the run did: same role templates, exemplars, keep rule, seeds. The run stays.

    Args:
        home: folder of all runs.
        run: the run's name.
        instruction: id of one of the run's instructions; by default its best.
        llm: another model than the run's.
        api_base: address of the model's server; keys are sent only to an address given here.
        n: refinements a prompt, equal ones left out; the first is the run's.

    Raises:
        BadInput: no such run or instruction, no result yet, or templates that were changed.
        ProviderError: from `ask`, the LLM provider refused.
    """
    folder = existing_folder(home, run)
    config = run_config(folder)
    arm = best_instruction(folder, instruction)
    agents = _agents(config.agents, llm, api_base)
    chat = load_chat(agents, api_base=api_base)
    with open_refiner(folder, config, agents, arm, chat) as opened:
        yield Source(
            label=f"run {run}, instruction {arm.id}, {agents.llm}",
            identity=digest([run, arm.id, arm.text, agents.model_dump(mode="json"), n]),
            ask=lambda prompts: asyncio.run(_refine_all(opened, prompts, n)),
            facts={"instruction": arm.id},
            notes=(*_untested(folder, config, agents), *opened.notes),
            batch=_BATCH,
        )


@dataclass(frozen=True)
class OpenRefiner:
    """The refiner that an instruction was in its run.

    Attributes:
        refiner: the refiner.
        arm: the instruction's id.
        run_seed: the run's seed.
        seed_name: what the run seeds the instruction's refinements by.
        notes: what differs from the run.
    """

    refiner: LLMRefiner
    arm: str
    run_seed: int
    seed_name: str
    notes: tuple[str, ...]

    def seed(self, prompt: str, replicate: int = 0) -> int:
        """Return the seed with which the run let the instruction refine a prompt (the first time, or a later one)."""
        return derive_seed("refine", self.run_seed, self.seed_name, text_id(prompt), replicate)


@contextmanager
def open_refiner(
    folder: RunFolder,
    config: RunConfig,
    agents: AgentsSection,
    arm: Instruction,
    chat: ChatModel,
    *,
    shown_for: Sequence[str] = (),
) -> Iterator[OpenRefiner]:
    """Yield the refiner that an instruction was in its run.

    Args:
        folder: the run.
        config: its configuration.
        agents: the same agents, or others.
        arm: the instruction.
        chat: the model that is asked.
        shown_for: show the exemplars of these prompts whatever the prompt; by default each prompt's own.

    Raises:
        BadInput: no such corpus, or templates that were changed.
    """
    templates = run_templates(folder, config)
    with reading(folder) as store:
        window, known = stored_window(store), store.fact("identity/corpus")
        name = seed_name(store, config.loop.evidence, arm.id)
    library, corpus = open_library(folder.home, config.prompts.corpus)
    notes = []
    try:
        if known not in (None, library.digest(corpus)):
            notes.append(f"the corpus {corpus!r} has changed since run {folder.name}: the exemplars may be others")
        refiner = refiner_factory(
            chat,
            templates,
            agent_settings(agents, window),
            lambda naive: library.exemplars(shown_for or [naive], agents.generator_exemplars, corpus=corpus),
        )(arm)
        yield OpenRefiner(refiner, arm.id, config.run.seed, name, tuple(notes))
    finally:
        library.close()


async def _refine_all(opened: OpenRefiner, texts: Sequence[str], n: int) -> list[list[Refinement]]:
    async def one(text: str, replicate: int) -> Refinement:
        with call_scope(f"refine/{opened.arm}/{text_id(text)}/{replicate}"):
            [refinement] = await opened.refiner.refine([text], seed=opened.seed(text, replicate))
        return refinement

    async def variants(text: str) -> list[Refinement]:
        found = dict.fromkeys(await asyncio.gather(*(one(text, replicate) for replicate in range(n))))
        return [refinement for refinement in found if not refinement.error] or list(found)[:1]

    return list(await asyncio.gather(*map(variants, texts)))


def checked_prompt(prompt: str) -> str:
    """Return a user's prompt as one line.

    Raises:
        BadInput: it is empty or too long.
    """
    text = " ".join(prompt.split())
    if not text:
        raise BadInput("a prompt is empty; expected what the picture should show")
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"a prompt has {len(text)} characters, expected at most {MAX_CHARACTERS}; shorten it")
    return text


def best_instruction(folder: RunFolder, wanted: str | None = None) -> Instruction:
    """Return a run's best instruction, or the wanted one.

    Raises:
        BadInput: no result yet, or no such instruction.
    """
    best = finished(folder)["best"] if wanted is None else wanted
    if not has_facts(folder):
        raise BadInput(f"run {folder.name!r} has not begun, so it has no instructions; resume it")
    with reading(folder) as store:
        known = {instruction.id: instruction for instruction in store.instructions()}
    if best not in known:
        shown = ", ".join(known) if len(known) <= 12 else ", ".join(list(known)[:12]) + ", ..."
        raise BadInput(f"--instruction is {best!r}; expected one of run {folder.name!r}: {shown}")
    return known[best]


def _agents(agents: AgentsSection, llm: str | None, api_base: str | None) -> AgentsSection:
    """Return the run's agents with another model or address; the run's own address stays with the run's own model."""
    if llm is None and api_base is None:
        return agents
    return agents.model_copy(update={"llm": llm or agents.llm, "api_base": api_base})


def _untested(folder: RunFolder, config: RunConfig, agents: AgentsSection) -> list[str]:
    if agents.llm == config.agents.llm:
        return []
    return [f"run {folder.name} was tuned with {config.agents.llm}; with {agents.llm} it was never tested"]

"""Using what a run found: refining new prompts with one of its instructions, without any picture model."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.generator import LLMRefiner
from core.errors import BadInput
from core.interfaces import ChatModel, Refiner
from core.records import Instruction, Refinement
from core.scope import call_scope
from core.seeding import derive_seed
from core.text import text_id
from experiments.config import AgentsSection, RunConfig, parse_config
from experiments.folder import RunFolder, existing_folder, read_json
from experiments.renderer_facts import stored_window
from experiments.result import finished, run_templates
from experiments.status import has_facts, reading
from experiments.wiring import MINIWORLD_CORPUS, agent_settings, load_chat, open_library, refiner_factory
from prompt_db.importers import MAX_CHARACTERS


@dataclass(frozen=True)
class Refined:
    """Refinements in the order of the prompts; `notes` say what differs from the run."""

    instruction: str
    refinements: tuple[Refinement, ...]
    notes: tuple[str, ...]


def refine_prompts(
    home: Path,
    run: str,
    prompts: Sequence[str],
    *,
    instruction: str | None = None,
    llm: str | None = None,
    api_base: str | None = None,
) -> Refined:
    """Refine prompts as the run did: same role templates, exemplars, keep rule and seeds. The run stays as it is.

    Args:
        home: folder of all runs.
        run: the run's name.
        prompts: naive prompts.
        instruction: id of one of the run's instructions; by default its best.
        llm: another model than the run's.
        api_base: address of the model's server; keys are sent only to an address given here.

    Raises:
        BadInput: no such run or instruction, no result yet, a bad prompt, or templates that were changed.
        ProviderError: the LLM provider refused.
    """
    texts = [checked_prompt(prompt) for prompt in prompts]
    folder = existing_folder(home, run)
    config = parse_config(read_json(folder.config_file), source=str(folder.config_file))
    arm = _instruction(folder, instruction)
    agents = _agents(config.agents, llm, api_base)
    chat = load_chat(agents, api_base=api_base)
    with run_refiner(folder, config, agents, arm, chat) as (refiner, corpus_digest):
        done = asyncio.run(_refine_all(refiner, texts, arm.id, config.run.seed))
    return Refined(arm.id, tuple(done), tuple(_notes(folder, config, agents, corpus_digest)))


@contextmanager
def run_refiner(
    folder: RunFolder,
    config: RunConfig,
    agents: AgentsSection,
    arm: Instruction,
    chat: ChatModel,
    *,
    shown_for: Sequence[str] = (),
) -> Iterator[tuple[LLMRefiner, str]]:
    """Yield the refiner that an instruction was in its run, and the digest of the corpus it takes its exemplars from.

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
    with reading(folder) as store:
        window = stored_window(store)
    library, corpus = open_library(folder.home, config.prompts.corpus)
    try:
        yield (
            refiner_factory(
                chat,
                run_templates(folder, config),
                agent_settings(agents, window),
                lambda naive: library.exemplars(shown_for or [naive], agents.generator_exemplars, corpus=corpus),
            )(arm),
            library.digest(corpus),
        )
    finally:
        library.close()


def refine_seed(run_seed: int, arm: str, prompt: str) -> int:
    """Return the seed with which a run lets an instruction refine a prompt (the first time)."""
    return derive_seed("refine", run_seed, arm, text_id(prompt), 0)


async def _refine_all(refiner: Refiner, texts: Sequence[str], arm: str, seed: int) -> list[Refinement]:
    async def one(text: str) -> Refinement:
        prompt = text_id(text)
        with call_scope(f"refine/{arm}/{prompt}/0"):
            [refinement] = await refiner.refine([text], seed=refine_seed(seed, arm, text))
        return refinement

    return list(await asyncio.gather(*(one(text) for text in texts)))


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


def _instruction(folder: RunFolder, wanted: str | None) -> Instruction:
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


def _notes(folder: RunFolder, config: RunConfig, agents: AgentsSection, corpus_digest: str) -> list[str]:
    notes = []
    if agents.llm != config.agents.llm:
        notes.append(f"run {folder.name} was tuned with {config.agents.llm}; with {agents.llm} it was never tested")
    with reading(folder) as store:
        known = store.fact("identity/corpus")
    if known is not None and known != corpus_digest:
        corpus = config.prompts.corpus or MINIWORLD_CORPUS
        notes.append(f"the corpus {corpus!r} has changed since run {folder.name}: the exemplars may be others")
    return notes

"""Who answers a row's prompts: nobody, a trained refiner, an agent, a run's best instruction. One function each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.messages import load_templates
from core.interfaces import ChatModel
from core.records import ChatRequest, Completion, Refinement
from core.scope import call_scope
from core.seeding import derive_seed
from core.text import digest, text_id
from experiments.answers import Source, find_refiner, trained_source
from experiments.config import AgentsSection, load_config, parse_config
from experiments.folder import existing_folder, read_json
from experiments.metered import MeteredChat
from experiments.refine import best_instruction, open_refiner
from experiments.suites.config import ALL, FOLDER, RowSpec, SuiteConfig
from experiments.wiring import agent_settings, first_instructions, load_chat, open_library, refiner_factory
from graph.workbench import INITIAL
from prompt_db.cache_store import CacheStore
from prompt_db.ledger import Ledger
from refiner.constraints import AUTO, Wishes, automatic, folder_categories


@dataclass
class Calls:
    """A chat model that counts what it is asked, answers from the cache included."""

    chat: ChatModel
    calls: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.name = self.chat.name

    async def complete(self, request: ChatRequest) -> Completion:
        """See `core.interfaces.ChatModel`."""
        self.calls += 1
        completion = await self.chat.complete(request)
        self.tokens += completion.prompt_tokens + completion.completion_tokens
        return completion


@dataclass(frozen=True)
class Tools:
    """What rows are opened with.

    Attributes:
        home: folder of all runs.
        config: the suite.
        run: the run that `--run` names.
        llm: another language model than the configurations'.
        api_base: its address.
        cache: of replies.
        ledger: pays for them.
        window: tokens that the renderer reads.
    """

    home: Path
    config: SuiteConfig
    run: str | None
    llm: str | None
    api_base: str | None
    cache: CacheStore
    ledger: Ledger
    window: int | None

    def chat(self, agents: AgentsSection) -> Calls:
        """Return the language model of some agents, metered and counted."""
        model = load_chat(agents, api_base=self.api_base)
        return Calls(MeteredChat(model, self.cache, self.ledger, api_base=agents.api_base))

    def agents(self, agents: AgentsSection) -> AgentsSection:
        """Return agents with the language model that the user named, if any."""
        changes = {"llm": self.llm, "api_base": self.api_base}
        return agents.model_copy(update={key: value for key, value in changes.items() if value is not None})


@dataclass(frozen=True)
class Answering:
    """A source of answers, with the language model that it asks (None without one)."""

    source: Source
    calls: Calls | None = None


@contextmanager
def fixed(texts: Mapping[str, str]) -> Iterator[Answering]:
    """Answer with texts that are known, else with the prompt itself."""

    def ask(prompts: Sequence[str]) -> list[list[Refinement]]:
        return [[Refinement(prompt, texts.get(prompt, prompt))] for prompt in prompts]

    label = "professional prompts of the corpus" if texts else "the user's prompt"
    yield Answering(Source(label, digest([label, texts]), ask))


def naive(tools: Tools) -> AbstractContextManager[Answering]:  # noqa: ARG001 - the shape of Row.open
    """Answer with the prompt itself."""
    return fixed({})


@contextmanager
def trained(tools: Tools, spec: RowSpec) -> Iterator[Answering]:
    """Ask a trained refiner, with the row's wishes."""
    place = place_of(tools.home, spec, tools.run)
    wishes = automatic(folder_categories(Path(place))) if spec.want == ALL else Wishes(_terms(spec.want))
    with trained_source(tools.home, place, wishes, 1, tools.config.seed) as source:
        yield Answering(source)


def _terms(want: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(want, (AUTO,))


@contextmanager
def agent(tools: Tools, name: str, path: str) -> Iterator[Answering]:
    """Ask the language model of a run's configuration under the run's initial instruction."""
    file = FOLDER / path
    config = load_config(file if file.is_file() else Path(path), {})
    agents = tools.agents(config.agents)
    chat, templates = tools.chat(agents), load_templates(Path(agents.templates) if agents.templates else None)
    [instruction] = [arm for arm in first_instructions(config, ()) if arm.id == INITIAL]
    library, corpus = open_library(tools.home, config.prompts.corpus)
    try:
        refiner = refiner_factory(
            chat,
            templates,
            agent_settings(agents, tools.window),
            lambda prompt: library.exemplars([prompt], agents.generator_exemplars, corpus=corpus),
        )(instruction)
        seed = tools.config.seed

        async def one(prompt: str) -> Refinement:
            with call_scope(f"refine/{name}/{text_id(prompt)}"):
                [found] = await refiner.refine([prompt], seed=derive_seed("evaluation-refine", seed, prompt))
            return found

        identity = [instruction.text, agents.model_dump(mode="json"), templates.digest, library.digest(corpus), seed]
        yield _asking(f"{agents.llm}: {instruction.text}", digest([*identity, tools.window]), one, chat)
    finally:
        library.close()


@contextmanager
def best_of_run(tools: Tools) -> Iterator[Answering]:
    """Ask as the run did, under its best instruction."""
    folder = existing_folder(tools.home, tools.run or "")
    config = parse_config(read_json(folder.config_file), source=str(folder.config_file))
    agents, arm = tools.agents(config.agents), best_instruction(folder)
    chat = tools.chat(agents)
    with open_refiner(folder, config, agents, arm, chat) as opened:

        async def one(prompt: str) -> Refinement:
            with call_scope(f"refine/run/{arm.id}/{text_id(prompt)}"):
                [found] = await opened.refiner.refine([prompt], seed=opened.seed(prompt))
            return found

        told = [config.model_dump(mode="json"), agents.model_dump(mode="json")]
        identity = digest([folder.name, arm.id, arm.text, *told])
        yield _asking(f"{agents.llm}, run {folder.name}, instruction {arm.id}: {arm.text}", identity, one, chat)


def _asking(label: str, identity: str, one: Callable[[str], Awaitable[Refinement]], calls: Calls) -> Answering:
    """Return a source that asks a language model about each prompt, all prompts of a batch at once."""

    async def every(prompts: Sequence[str]) -> list[Refinement]:
        return list(await asyncio.gather(*map(one, prompts)))

    def ask(prompts: Sequence[str]) -> list[list[Refinement]]:
        return [[found] for found in asyncio.run(every(prompts))]

    return Answering(Source(label, identity, ask), calls)


def place_of(home: Path, spec: RowSpec, run: str | None) -> str:
    """Return where a row's refiner is: in the home alone if the suite trains it; a shipped one has its own recipe."""
    name = spec.refiner.replace("RUN", run or "")
    return str(home / "refiners" / name) if spec.train else find_refiner(home, name)

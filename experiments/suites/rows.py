"""Who refines: a row's name, its prompts, and a source of answers. A kind of row is one function here."""

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.messages import load_templates
from core.errors import BadInput
from core.interfaces import ChatModel
from core.records import NAIVE, ChatRequest, Completion, Refinement
from core.scope import call_scope
from core.seeding import derive_seed
from core.text import digest, text_id
from experiments.answers import Source, find_refiner, trained_source
from experiments.config import AgentsSection, load_config, parse_config
from experiments.folder import existing_folder, read_json
from experiments.metered import MeteredChat
from experiments.refine import best_instruction, open_refiner
from experiments.result import finished
from experiments.status import reading
from experiments.suites.cases import professional_prompts
from experiments.suites.config import ALL, FOLDER, RowSpec, SuiteConfig
from experiments.suites.table import Case
from experiments.wiring import agent_settings, first_instructions, load_chat, open_library, refiner_factory
from graph.workbench import INITIAL
from prompt_db.cache_store import CacheStore
from prompt_db.ledger import Ledger
from refiner import RELEASED
from refiner.constraints import AUTO, Categories, Wishes, automatic, folder_categories
from refiner.folder import MANIFEST_FILE


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


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: its name.
        open: yields who answers.
        cases: its own naive prompts; None = the suite's.
        against: the row of its naive prompts.
    """

    name: str
    open: Callable[[Tools], AbstractContextManager[Answering]]
    cases: Sequence[Case] | None = None
    against: str = NAIVE


@dataclass(frozen=True)
class Missing:
    """A row that cannot be evaluated yet: its name, what is missing, and the command that makes it."""

    name: str
    what: str
    command: str


def make_rows(
    config: SuiteConfig, home: Path, run: str | None, wanted: Sequence[str] = ()
) -> tuple[list[Row], list[Missing]]:
    """Return the rows that can be evaluated, naive first, and those that cannot.

    Args:
        config: the suite.
        home: folder of all runs.
        run: the run that `--run` names.
        wanted: names of rows, or refiners that are no row; none = all rows of the suite.

    Raises:
        BadInput: a wanted row cannot be evaluated, or the run has no result.
    """
    if run is not None:
        finished(existing_folder(home, run))
    specs = {name: config.rows.get(name, RowSpec(refiner=name)) for name in wanted} if wanted else dict(config.rows)
    specs.setdefault(NAIVE, RowSpec())
    rows: list[Row] = [Row(NAIVE, _naive)]
    missing = []
    for name, spec in specs.items():
        lack = _lacking(name, spec, home, run)
        if lack and wanted:
            raise BadInput(f"--rows {name}: {lack.what}; make it first: {lack.command}")
        if lack:
            missing.append(lack)
        elif name != NAIVE:
            rows += _rows(name, spec, config)
    return rows, missing


def commands_to_train(home: Path, config: SuiteConfig, run: str | None) -> list[str]:
    """Return the commands that train what a suite lacks, each once, in the order of its rows.

    Without a run those that learn from one are left out.
    """
    specs = ((name, spec) for name, spec in config.rows.items() if spec.train and (run or "RUN" not in spec.train))
    lacks = (_lacking(name, spec, home, run) for name, spec in specs)
    return list(dict.fromkeys(lack.command for lack in lacks if lack))


def _lacking(name: str, spec: RowSpec, home: Path, run: str | None) -> Missing | None:
    if run is None and (spec.run or "RUN" in spec.refiner):
        return Missing(name, "no run is named", f"brushup optimize --run NAME --home {home}, then give --run NAME")
    if not spec.refiner or (spec.refiner.partition("=")[0] in RELEASED and not spec.train):
        return None
    place = Path(find_refiner(home, _refiner_name(spec, run)))
    if (place / MANIFEST_FILE).is_file() or not (spec.train or _is_name(spec.refiner)):
        return None
    advice = spec.train or f"brushup train REFINER --out HOME/refiners/{spec.refiner}"
    words = {"HOME": shlex.quote(str(home)), "RUN": shlex.quote(run or "NAME")}
    command = re.sub("HOME|RUN", lambda found: words[found.group()], advice)
    return Missing(name, f"no refiner {_refiner_name(spec, run)} in {home / 'refiners'}", command)


def _is_name(refiner: str) -> bool:
    """Whether it can only be a refiner of the home: no hub id, no path, no author's weights."""
    return not set(refiner) & set("/=")


def _refiner_name(spec: RowSpec, run: str | None) -> str:
    return spec.refiner.replace("RUN", run or "")


def _rows(name: str, spec: RowSpec, config: SuiteConfig) -> list[Row]:
    if spec.corpus:
        written = professional_prompts(config.per_group, config.seed)
        naive, cases = f"{name}-{NAIVE}", list(written)
        texts = {case.prompt: text for case, text in written.items()}
        return [Row(naive, _naive, cases, naive), Row(name, lambda _: _fixed(texts), cases, naive)]
    if spec.agent:
        return [Row(name, lambda tools: _agent(tools, name, spec.agent))]
    if spec.run:
        return [Row(name, _best_of_run)]
    if spec.refiner:
        return [row_of(name, spec)]
    return [Row(name, _naive)]


def row_of(name: str, spec: RowSpec) -> Row:
    """Return a trained refiner's row."""
    return Row(name, lambda tools: _trained(tools, spec))


@contextmanager
def _fixed(texts: Mapping[str, str]) -> Iterator[Answering]:
    """Answer with texts that are known, else with the prompt itself."""

    def ask(prompts: Sequence[str]) -> list[list[Refinement]]:
        return [[Refinement(prompt, texts.get(prompt, prompt))] for prompt in prompts]

    label = "professional prompts of the corpus" if texts else "the user's prompt"
    yield Answering(Source(label, digest([label, texts]), ask))


def _naive(tools: Tools) -> AbstractContextManager[Answering]:  # noqa: ARG001 - the shape of Row.open
    return _fixed({})


@contextmanager
def _trained(tools: Tools, spec: RowSpec) -> Iterator[Answering]:
    name = _refiner_name(spec, tools.run)
    wishes = automatic(own_categories(tools.home, name)) if spec.want == ALL else Wishes(_terms(spec.want))
    with trained_source(tools.home, name, wishes, 1, tools.config.seed) as source:
        yield Answering(source)


def _terms(want: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(want, (AUTO,))


def own_categories(home: Path, refiner: str) -> Categories:
    """Return the categories of terms that a trained refiner knows: its own, or those that come with brushup."""
    return folder_categories(Path(find_refiner(home, refiner)))


@contextmanager
def _agent(tools: Tools, name: str, path: str) -> Iterator[Answering]:
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
            lambda naive: library.exemplars([naive], agents.generator_exemplars, corpus=corpus),
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
def _best_of_run(tools: Tools) -> Iterator[Answering]:
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

        identity = digest([folder.name, arm.id, arm.text, agents.model_dump(mode="json")])
        yield _asking(f"{agents.llm}, run {folder.name}, instruction {arm.id}: {arm.text}", identity, one, chat)


def _asking(label: str, identity: str, one: Callable[[str], Awaitable[Refinement]], calls: Calls) -> Answering:
    """Return a source that asks a language model about each prompt, all prompts of a batch at once."""

    async def every(prompts: Sequence[str]) -> list[Refinement]:
        return list(await asyncio.gather(*map(one, prompts)))

    def ask(prompts: Sequence[str]) -> list[list[Refinement]]:
        return [[found] for found in asyncio.run(every(prompts))]

    return Answering(Source(label, identity, ask), calls)


def run_prompts_of(home: Path, run: str | None) -> set[str]:
    """Return every prompt that a run has seen or holds out; nothing without a run."""
    if run is None:
        return set()
    with reading(existing_folder(home, run)) as store:
        return {prompt.text for prompt in store.prompts()}

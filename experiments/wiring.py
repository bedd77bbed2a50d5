"""Puts a run's tools on the workbench: models, agents, stores, policy. The only place that knows all of them."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import miniworld
from agents.chat import make_chat_model
from agents.generator import Exemplars, LLMRefiner
from agents.gradient import LLMGradientCalculator
from agents.initial import INITIAL_INSTRUCTION, frequent_instruction
from agents.limits import Limits
from agents.messages import Templates, load_templates
from agents.modifier import LLMInstructionModifier
from agents.ollama import OllamaUnloader, ollama_address
from agents.settings import AgentSettings, settings_for
from bandit import POLICIES
from bandit.settings import PolicySettings
from core.errors import BadInput
from core.interfaces import ChatModel, Renderer, Scorer
from core.pricing import CallCost, Price, worst_case
from core.progress import Progress
from core.records import ChatRequest, Instruction, Prompt
from core.text import digest
from experiments.circumstances import note_origin
from experiments.config import AgentsSection, RunConfig
from experiments.data import run_prompts
from experiments.folder import RunFolder
from experiments.metered import MeteredChat
from experiments.renderer_facts import note_renderer
from graph.workbench import FREQUENT, INITIAL, LoopPlan, Workbench
from prompt_db.cache_store import CacheStore
from prompt_db.caps import Caps
from prompt_db.ledger import Ledger
from prompt_db.library import Library
from prompt_db.run_store import RunStore
from rendering.cache import ImageCache

MINIWORLD_CORPUS = "miniworld"
FREQUENT_PHRASES = 5


@dataclass(frozen=True)
class Models:
    """The models of a run: those of the loop, and the scorers that only watch its test."""

    chat: ChatModel
    renderer: Renderer
    scorer: Scorer
    watched: tuple[Scorer, ...] = ()


def loop_plan(config: RunConfig, prompts: Sequence[Prompt]) -> LoopPlan:
    """Return the loop's numbers for these prompts."""
    count = {split: sum(prompt.split == split for prompt in prompts) for split in ("validation", "test")}
    return LoopPlan(
        seed=config.run.seed,
        holdout_seed=config.run.holdout_seed,
        rounds=config.run.rounds,
        batch_size=config.run.batch_size,
        children=config.run.children,
        pulls_per_round=config.pulls_per_round,
        pool_cap=config.run.pool_cap,
        validation_prompts=count["validation"],
        test_prompts=count["test"],
        test_seeds=config.evaluation.test_seeds,
        top=config.evaluation.top,
        exemplars=config.agents.modifier_exemplars,
        reward=config.bandit.reward,
        gradient=config.loop.gradient,
        evidence=config.loop.evidence,
    )


def policy_settings(config: RunConfig) -> PolicySettings:
    """Return what the run's policy is told; its budget is every block that the rounds can pull."""
    bandit, run = config.bandit, config.run
    return PolicySettings(
        c=bandit.c,
        epsilon=bandit.epsilon,
        reward_scale=bandit.reward_scale,
        alpha=bandit.alpha,
        budget=run.rounds * config.pulls_per_round * run.batch_size,
    )


def on_miniworld(config: RunConfig) -> bool:
    """Say whether a run draws with an embedded pipeline from the miniworld's prompts, so that truth can be asked."""
    return config.prompts.file is None and _embedded(config)


def _embedded(config: RunConfig) -> bool:
    renderer = config.render.renderer
    return renderer is None or Path(renderer).resolve() in (miniworld.PIPELINE, miniworld.SECOND_PIPELINE)


def load_models(config: RunConfig, *, api_base: str | None = None) -> Models:
    """Load the chat model, the pipeline and the scorers.

    Args:
        config: which ones.
        api_base: see `load_chat`.

    Raises:
        BadInput: a model cannot be loaded.
    """
    from rendering import load_renderer
    from scoring import load_scorer

    chat = load_chat(config.agents, api_base=api_base)
    renderer = load_renderer(config.render.renderer or str(miniworld.PIPELINE), config.render.settings())
    specs = [config.score.scorer or str(miniworld.SCORER), *watched_specs(config)]
    scorers: dict[str, Scorer] = {}  # by name: the optimised one is not watched as well
    for spec in dict.fromkeys(specs):
        loaded = load_scorer(spec, chunk=config.score.chunk, threads=config.render.threads)
        scorers.setdefault(loaded.name, loaded)
    scorer, *watched = scorers.values()
    return Models(chat, renderer, scorer, tuple(watched))


def watched_specs(config: RunConfig) -> Sequence[str]:
    """Return the scorers that watch: those of the configuration, or with an embedded pipeline the embedded ones."""
    if config.score.watch is not None:
        return config.score.watch
    return (str(miniworld.SCORER), *miniworld.OTHER_SCORERS) if _embedded(config) else ()


def load_chat(agents: AgentsSection, *, api_base: str | None = None) -> ChatModel:
    """Return the chat model of a configuration.

    Args:
        agents: which one.
        api_base: the address that the user named in this very command; only there an API key is sent.

    Raises:
        BadInput: an unknown provider, a bad address, or a missing key.
    """
    trusted = agents.api_base is None or agents.api_base == api_base
    return make_chat_model(
        agents.llm,
        api_base=agents.api_base,
        timeout=agents.timeout,
        limits=Limits(agents.concurrency, agents.rpm, agents.tpm),
        json_schema=agents.json_schema == "auto",
        environ=None if trusted else {},
    )


def _unloader(agents: AgentsSection, progress: Progress) -> OllamaUnloader | None:
    """Return what unloads the LLM before pictures are drawn, if that is wanted."""
    if not agents.free_llm_vram:
        return None
    return OllamaUnloader(agents.llm, ollama_address(agents.llm, agents.api_base), warn=progress.note)


def open_library(home: Path, corpus: str | None) -> tuple[Library, str]:
    """Open `HOME/prompts.db` and return it with the name of the corpus to use, importing the built-in one once.

    Raises:
        BadInput: there is no such corpus.
    """
    library = Library(home / "prompts.db")
    if corpus is None:
        if not library.has(MINIWORLD_CORPUS):
            library.import_file(miniworld.CORPUS, name=MINIWORLD_CORPUS)
        return library, MINIWORLD_CORPUS
    if not library.has(corpus):
        raise BadInput(f"no corpus {corpus!r} in {home}; import one with `brushup prompts import FILE --name {corpus}`")
    return library, corpus


@contextmanager
def open_bench(
    folder: RunFolder,
    config: RunConfig,
    models: Models,
    progress: Progress,
    *,
    session: int,
    store: RunStore,
    library_home: Path | None = None,
    charged: RunStore | None = None,
) -> Iterator[Workbench]:
    """Lay out the workbench of a run, storing its prompts and first arms if they are not stored yet.

    Args:
        folder: the run's folder.
        config: its configuration.
        models: its models.
        progress: told what happens.
        session: number of this process's session.
        store: the run's facts.
        library_home: where the prompt library lies, if not in the folder's home.
        charged: whose ledger pays, if not the run's: for work that only watches it.

    Raises:
        BadInput: prompts, templates or corpus cannot be used, or a model differs from the one the run began with.
    """
    templates = load_templates(Path(config.agents.templates) if config.agents.templates else None)
    library, corpus = open_library(library_home or folder.home, config.prompts.corpus)
    if not store.prompts():
        store.add_prompts(run_prompts(config))
    pin_identity(store, config, models, templates, library.digest(corpus))
    note_origin(store, models.renderer, models.scorer)
    store.add_instructions(first_instructions(config, library.frequent_phrases(FREQUENT_PHRASES, corpus)))
    cache_folder = folder.cache(config.storage.cache)
    cache = CacheStore(cache_folder / "cache.db")
    ledger = Ledger(charged or store, Caps(**config.budget.model_dump()), session, price=config.agents.price())
    chat = MeteredChat(models.chat, cache, ledger, api_base=config.agents.api_base)
    note_renderer(store, config, models.renderer)
    settings = agent_settings(config.agents, models.renderer.window)
    train = [prompt.text for prompt in store.prompts("train")]

    @functools.cache  # arms meet the same prompts again and again
    def search(naive_prompts: tuple[str, ...], k: int) -> list[str]:
        return library.exemplars(naive_prompts, k, corpus=corpus) if k and naive_prompts else []

    def exemplars(naive_prompts: Sequence[str], k: int) -> list[str]:
        return search(tuple(naive_prompts), k)

    refiner_of = refiner_factory(
        chat, templates, settings, lambda naive: exemplars([naive], config.agents.generator_exemplars)
    )
    try:
        yield Workbench(
            plan=loop_plan(config, store.prompts()),
            store=store,
            cache=cache,
            images=ImageCache(cache_folder / "images"),
            ledger=ledger,
            renderer=models.renderer,
            scorer=models.scorer,
            watched=models.watched,
            refiner_of=refiner_of,
            refine_cost=cost_of_refining(refiner_of, settings, ledger.price),
            gradient=LLMGradientCalculator(chat, templates=templates, settings=settings),
            modifier=LLMInstructionModifier(chat, templates=templates, settings=settings, training_prompts=train),
            free_llm=_unloader(config.agents, progress),
            exemplars=exemplars,
            policy=POLICIES[config.bandit.policy](policy_settings(config)),
            progress=progress,
            session=session,
        )
    finally:
        cache.close()
        library.close()


def agent_settings(agents: AgentsSection, window: int | None = None) -> AgentSettings:
    """Return the agents' settings of a configuration, for a renderer with this window (None is unknown)."""
    return replace(settings_for(agents.llm), keep=agents.keep, negative=agents.negative, window=window)


def refiner_factory(
    chat: ChatModel, templates: Templates, settings: AgentSettings, exemplars: Exemplars
) -> Callable[[Instruction], LLMRefiner]:
    """Return the function that makes an arm's refiner from its instruction."""

    def make(instruction: Instruction) -> LLMRefiner:
        return LLMRefiner(chat, instruction.text, templates=templates, exemplars=exemplars, settings=settings)

    return make


def cost_of_refining(
    refiner_of: Callable[[Instruction], LLMRefiner], settings: AgentSettings, price: Price | None
) -> Callable[[Instruction, str], CallCost]:
    """Return the function that says what the first call of a refinement costs at most, from the very messages sent."""
    room = settings.generator.max_tokens

    @functools.cache
    def cost(instruction: Instruction, naive_prompt: str) -> CallCost:
        refiner = refiner_of(instruction)
        schema = refiner.schema.model_json_schema()
        return worst_case(ChatRequest(refiner.messages(naive_prompt), max_tokens=room, json_schema=schema), price)

    return cost


def first_instructions(config: RunConfig, frequent: Sequence[str]) -> list[Instruction]:
    """Return the arms that are there before round 1, and the frequent-phrases rival of the test."""
    own = [
        Instruction(f"r0c{k}", text, round=0, child=k, origin="user")
        for k, text in enumerate(config.agents.instructions, start=1)
    ]
    rival = [Instruction(FREQUENT, frequent_instruction(list(frequent)), child=10**6, origin="frequent")]
    initial = Instruction(INITIAL, config.agents.initial or INITIAL_INSTRUCTION, origin="initial")
    return [initial, *own, *(rival if frequent else [])]


def pin_identity(store: RunStore, config: RunConfig, models: Models, templates: Templates, corpus_digest: str) -> None:
    """Store what determines the run's results, or check it against what the run began with.

    The chunk is the one that was asked for: a renderer that ran out of memory is still the same one.

    Raises:
        BadInput: something changed since the run began.
    """
    identity: Mapping[str, str] = {
        "corpus": corpus_digest,
        "templates": templates.digest,
        "renderer": digest([models.renderer.revision, dict(models.renderer.settings), config.render.chunk]),
        "scorer": digest([models.scorer.name, models.scorer.revision, models.scorer.chunk]),
        "llm": models.chat.name,
        "watched": digest([[scorer.name, scorer.revision, scorer.chunk] for scorer in models.watched]),
    }
    for name, value in identity.items():
        known = store.fact(f"identity/{name}")
        if known is None:
            store.set_fact(f"identity/{name}", value)
        elif known != value:
            raise BadInput(
                f"the {name} is not the one this run began with ({value}, was {known}); restore it, or start a new run"
            )

"""`brushup distill`: what runs found, put into a small model that refines prompts without any LLM."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from core.errors import BadInput
from core.progress import Progress
from core.records import NAIVE
from experiments.config import RunConfig
from experiments.folder import existing_folder
from experiments.member import Member, member
from experiments.wiring import on_miniworld, open_library
from prompt_db.prompt_pairs import PromptPair
from refiner.answer import prefix_of
from refiner.prip.data import PromptPicture
from rendering.cache import ImageCache

if TYPE_CHECKING:  # imports torch
    from experiments.training.config import DataConfig, TrainingConfig

REFINERS = ("sft", "prip")
FEWEST = 24
"""Pairs, or prompts with pictures, under which a refiner would learn nothing but the corpus."""
KEPT = 4
"""Refined prompts of one naive prompt that are learned at most, the best ones: popular prompts do not drown others."""


@dataclass(frozen=True)
class Lessons:
    """What a run's train blocks teach.

    Attributes:
        pairs: naive prompts with refined ones whose pictures scored higher on the same blocks.
        preferred: naive prompts, each with the picture that scored highest against it, whoever's; of several
            runs, whose scorers may be different ones, the first one's.
        system: pictures that scored higher than the naive ones, with the prompts they were drawn from.
        dropped: how many results were left out, by reason.
    """

    pairs: tuple[PromptPair, ...] = ()
    preferred: tuple[PromptPicture, ...] = ()
    system: tuple[PromptPicture, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Lessons") -> "Lessons":
        first = {one.prompt: one for one in (*other.preferred, *self.preferred)}
        return Lessons(
            tuple(dict.fromkeys((*self.pairs, *other.pairs))),
            tuple(first.values()),
            (*self.system, *other.system),
            Counter(self.dropped) + Counter(other.dropped),
        )

    def __str__(self) -> str:
        """Return one line that says what there is."""
        lost = ", ".join(f"{count} {why}" for why, count in sorted(self.dropped.items()))
        return (
            f"{len(self.pairs)} pairs, {len(self.preferred)} prompts with a preferred picture, "
            f"{len(self.system)} pictures better than naive" + (f"; left out: {lost}" if lost else "")
        )


def held_out(members: Iterable[Member]) -> set[str]:
    """Return the prompts that any of some runs validates or tests on."""
    return {prompt.text for one in members for prompt in one.evidence.prompts.values() if prompt.split != "train"}


def lessons(one: Member, hidden: Collection[str] = ()) -> Lessons:
    """Return what a run's train blocks teach; validation and test are never looked at.

    Args:
        one: the run.
        hidden: naive prompts that other runs hold out.
    """
    evidence, images = one.evidence, ImageCache(one.folder.cache(one.config.storage.cache) / "images")
    gains: dict[tuple[str, str], list[float]] = {}
    best: dict[str, tuple[float, Path]] = {}
    system: list[PromptPicture] = []
    dropped = Counter[str]()
    for arm in (NAIVE, *(arm for arm in evidence.scores if arm != NAIVE)):
        rewards = evidence.rewards("train", arm)
        for block, score in sorted(evidence.scored("train", arm).items()):
            drawn, naive = evidence.drawn[arm, block], evidence.prompts[evidence.blocks[block].prompt_id].text
            if naive in hidden or drawn["negative"]:
                dropped["held out by another run" if naive in hidden else "with a negative prompt"] += 1
                continue
            picture = images.get(drawn["key"])
            if picture is None:
                dropped["without their picture"] += 1
            elif score > best.get(naive, (float("-inf"), picture))[0]:
                best[naive] = (score, picture)
            if arm != NAIVE and block in rewards:
                gains.setdefault((naive, drawn["prompt"]), []).append(rewards[block])
                if rewards[block] > 0 and picture is not None:
                    system.append(PromptPicture(drawn["prompt"], picture))
    pairs = _winners(gains)
    dropped["not better than naive, or not among the best"] += len(gains) - len(pairs)
    preferred = tuple(PromptPicture(naive, path) for naive, (_, path) in best.items())
    return Lessons(pairs, preferred, tuple(dict.fromkeys(system)), +dropped)


def _winners(gains: Mapping[tuple[str, str], Sequence[float]]) -> tuple[PromptPair, ...]:
    """Return for each naive prompt its refined ones that beat it on average, the best first, at most `KEPT`."""
    by_naive: dict[str, list[tuple[float, str]]] = {}
    for (naive, refined), values in gains.items():
        if fmean(values) > 0 and refined != naive:
            by_naive.setdefault(naive, []).append((-fmean(values), refined))
    return tuple(PromptPair(naive, text) for naive, found in by_naive.items() for _, text in sorted(found)[:KEPT])


def goes_on(pair: PromptPair) -> bool:
    """Whether the refined prompt begins with the naive one and a comma."""
    return " ".join(pair.high.split()).startswith(prefix_of(pair.low))


def in_one_form(found: Lessons) -> Lessons:
    """Return only the pairs that go on from the naive prompt, if half of them do; else all.

    A model that goes on keeps the user's words by construction, and has less to learn.
    """
    kept = tuple(filter(goes_on, found.pairs))
    if 2 * len(kept) < len(found.pairs):
        return found
    lost = {"not going on from the naive prompt": len(found.pairs) - len(kept)}
    return replace(found, pairs=kept, dropped=Counter(found.dropped) + Counter(lost))


def kind_of(refiner: str, found: Lessons) -> str:
    """Return whose form and model a distilled refiner has."""
    if refiner == "prip":
        return "prip"
    return "neuroprompts" if all(map(goes_on, found.pairs)) else "promptist"


def distill(
    home: Path,
    runs: Sequence[str],
    progress: Progress,
    *,
    refiner: str = "sft",
    source: str | None = None,
    settings: Sequence[str] = (),
    out: Path | None = None,
) -> dict[str, Any]:
    """Train a refiner on what runs found, after the corpus of professional prompts they used.

    Args:
        home: folder of all runs.
        runs: names of runs that have results; they need not be finished.
        progress: told what happens.
        refiner: `sft`, a language model that goes on from the prompt or rewrites it, as the pairs do; or `prip`.
        source: a TOML file of `brushup train` for `prip`, `neuroprompts` (pairs that go on) or `promptist` (others):
            whose model is trained; None = miniworld size.
        settings: `KEY=VALUE`, over the file.
        out: the refiner's folder; by default `HOME/refiners/RUN-REFINER`.

    Returns:
        As `experiments.training.run.train`, with `lessons` (a line on what was used).

    Raises:
        BadInput: no such run or refiner, too few results, or as `train`.
        Interrupted: Ctrl-C; the same command goes on.
    """
    if refiner not in REFINERS:
        raise BadInput(f"--refiner is {refiner!r}, expected one of {', '.join(REFINERS)}")
    members = [member(existing_folder(home, run)) for run in dict.fromkeys(runs)]
    hidden = held_out(members)
    found = sum((lessons(one, hidden) for one in members), Lessons())
    if refiner == "sft":
        found = in_one_form(found)
    enough = found.pairs if refiner == "sft" else min(found.preferred, found.system, key=len)
    if len(enough) < FEWEST:
        raise BadInput(
            f"run {', '.join(runs)}: got {found}; expected at least {FEWEST} for --refiner {refiner}: "
            "name more runs, or let one go on for more rounds or larger batches"
        )
    progress.note(f"learning from {found}")
    texts = _corpora(home, members, hidden)
    config = _config(members, kind_of(refiner, found), source, settings)
    names = [one.folder.name for one in members]
    facts = {"runs": names, "scorers": [one.details.scorer for one in members], "corpus prompts": len(texts)}
    place = out or home / "refiners" / f"{names[0]}-{refiner}"
    done = _make(home, place, config, found, texts, progress, facts={**facts, "lessons": str(found)})
    return {**done, "lessons": str(found)} if done else {}


def _corpora(home: Path, members: Iterable[Member], hidden: Collection[str]) -> list[str]:
    """Return the professional prompts of the runs' corpora, without any that is or begins with a held-out prompt."""
    texts: dict[str, None] = {}
    for one in members:
        library, corpus = open_library(home, one.config.prompts.corpus)
        try:
            texts |= dict.fromkeys(library.texts(corpus))
        finally:
            library.close()
    return [text for text in texts if not text.startswith(tuple(hidden))]


def _config(members: Sequence[Member], kind: str, source: str | None, settings: Sequence[str]) -> "TrainingConfig":
    from experiments.training.config import load_training, stages_of

    config = load_training(kind, source, [*([] if source else _small_batches(kind)), *settings])
    answering = dict(config.answering)
    if kind != "prip":  # written token by token, which is fast
        answering |= {"search": None, "generation": {"max_new_tokens": _longest(config.answering)}}
    if kind == "promptist" and all(one.config.agents.keep != "off" for one in members):
        answering["min_kept"] = 1.0  # the rule of the runs: an answer that loses the subject is a failed one
    names = ", ".join(one.folder.name for one in members)
    return replace(
        config,
        stages=stages_of(config.refiner)[:-1],
        label=f"distilled from {names} into {'PRIP' if kind == 'prip' else 'a language model'}",
        answering=answering,
        data=_of_runs(config.data, [one.config for one in members]),
        reward=replace(config.reward, renderer=""),
    )


def _small_batches(kind: str) -> list[str]:
    """Return settings for a run's few hundred rows, of which the usual batches would make a handful of steps."""
    epochs = {"user_pivot": 60, "pivot_system": 8} if kind == "prip" else {"sft": 8}
    wanted = {"batch_size": 16, "micro_batch_size": 16, "learning_rate": 1e-3}
    rows = [(stage, {**wanted, "epochs": count}) for stage, count in epochs.items()]
    return [f"model.{stage}.{name}={value}" for stage, settings in rows for name, value in settings.items()]


def _make(
    home: Path,
    out: Path,
    config: "TrainingConfig",
    found: Lessons,
    texts: Sequence[str],
    progress: Progress,
    *,
    facts: dict[str, Any],
) -> dict[str, Any]:
    from experiments.training.language import fit_language, learned_tokenizer
    from experiments.training.pivot import fit_pivot
    from experiments.training.run import make
    from experiments.training.workshop import Workshop
    from refiner.data import continuation_pairs
    from refiner.lm import load_tokenizer

    def recipe(shop: Workshop) -> None:
        if config.refiner == "prip":
            fit_pivot(shop, found.preferred, found.system, (), texts, language_first=True)
            return
        base = shop.config.model.lm.base  # type: ignore[union-attr]
        tokenizer = load_tokenizer(base) if base else learned_tokenizer(shop, [*texts, *(p.low for p in found.pairs)])
        fit_language(shop, tokenizer, found.pairs, (), before=continuation_pairs(texts).items)

    return make(home, out, config, recipe, progress, facts=facts)


def _longest(answering: Mapping[str, Any]) -> int:
    return int(dict(answering.get("search") or {}).get("max_tokens", 75))


def _of_runs(data: "DataConfig", configs: Sequence[RunConfig]) -> "DataConfig":
    """Return data settings that name what was learned from, so that the label says so when that is the miniworld."""
    world = "miniworld" if all(map(on_miniworld, configs)) else ""
    return replace(data, prompts=world, users="", pairs="", sessions="", log="")

"""Are the textual gradients right? What they say of phrases against what the miniworld's phrases truly do.

2406.08713 leaves this open as its first check. Evaluation only: nothing here is seen by an agent.

A gradient is asked one question for every phrase that its results contained and every style family: does it say that
the phrase helps there, that it harms there, or neither? The truth is the mean change of the annotator's value when the
world's own renderer draws scenes of that family with the phrase and without it.
"""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.offline.plan import mentions
from agents.offline.wording import read_evidence
from core.errors import BadInput
from core.seeding import generator
from core.text import phrases
from experiments.details import run_config
from experiments.folder import RunFolder
from experiments.status import has_facts, reading
from experiments.wiring import on_miniworld
from graph.lineage import evidence
from miniworld.vocabulary import FAMILIES, STYLE_WORDS, TERMS
from prompt_db.run_store import RunStore

SCENES = 48
"""Scenes, a quarter of them in each family, on which a phrase's true effect is measured."""
FELT = 0.1
"""Least mean change of the annotator's value that counts as an effect; the best phrases change it by 1 to 1.5."""
CLEAR = 2.0
"""The offline gradient gives numbers: it says that a phrase helps when its effect is more standard deviations up; its
own "clearly helpful"."""
_HELPS = re.compile(r"\b(help\w*|improv\w*|better|best|add|adding|include|use|benefi\w*|boost\w*|rais\w*|increas\w*)\b")
_HARMS = re.compile(r"\b(harm\w*|hurt\w*|wors\w*|avoid\w*|never|without|remov\w*|lower\w*|reduc\w*|weak\w*|drop\w*)\b")

Verdicts = Mapping[tuple[str, str], int]
"""+1 (helps), -1 (harms) or 0 by phrase and family."""


@dataclass(frozen=True)
class Tally:
    """One gradient, counted.

    Attributes:
        text: what it says.
        batch_size: blocks a pull.
        results: results that it explains.
        said, true, right: numbers of (phrase, family) that it says, that are, and that it rightly says to help or harm,
            each by `helpful` and `harmful`.
        asked: (phrase, family) in all.
    """

    text: str
    batch_size: int
    results: int
    said: Mapping[str, int]
    true: Mapping[str, int]
    right: Mapping[str, int]
    asked: int


def validate_gradients(folders: Sequence[RunFolder], clear: float = CLEAR) -> dict[str, Any]:
    """Return precision and recall of the gradients of runs on the miniworld, by batch size.

    Runs of one seed may begin with the same gradient (those of a comparison do); it counts once.

    Args:
        folders: the runs.
        clear: see CLEAR; 0 asks for the sign of every effect.

    Returns:
        {"batch_sizes": {size: {"first" | "last": {"gradients", "results", "helpful", "harmful"}}}}: the first and the
        last gradient of each run. `helpful` and `harmful` have `precision` and `recall`, each with `ci95` (bootstrap
        over runs; None when nothing was said or nothing is true), and `chance`: the precision of naming at random.

    Raises:
        BadInput: a run is not of the miniworld, or none of them has a gradient.
    """
    tallies = {folder.name: run_tallies(folder, clear) for folder in folders}
    if not any(tallies.values()):
        raise BadInput("none of these runs has a textual gradient yet; run more than one round")
    sizes = sorted({tally.batch_size for found in tallies.values() for tally in found})
    result: dict[str, Any] = {}
    for size in sizes:
        mine = [found for found in tallies.values() if found and found[0].batch_size == size]
        picked = {"first": [found[0] for found in mine], "last": [found[-1] for found in mine]}
        distinct = {which: list({one.text: one for one in chosen}.values()) for which, chosen in picked.items()}
        result[str(size)] = {which: _summary(chosen) for which, chosen in distinct.items()}
    return {"batch_sizes": result}


def run_tallies(folder: RunFolder, clear: float = CLEAR) -> list[Tally]:
    """Return the counts of a run's gradients, in order; those that failed or were switched off are left out.

    Raises:
        BadInput: the run is not of the miniworld.
    """
    config = run_config(folder)
    if not on_miniworld(config):
        raise BadInput(f"run {folder.name!r} is not on the miniworld; the true effects of phrases are known only there")
    if not has_facts(folder):
        return []
    with reading(folder) as store:
        rows = store.rows("SELECT round, arm, text FROM gradient WHERE error = '' AND text != '' ORDER BY round")
        found = []
        for row in rows:
            pulls = evidence(store, config.loop.evidence, row["arm"], row["round"])
            results, shown = _shown(store, pulls)
            said = what_it_says(row["text"], shown, clear)
            found.append(_tally(row["text"], config.run.batch_size, results, said))
    return found


def _shown(store: RunStore, pulls: Iterable[tuple[str, int]]) -> tuple[int, set[str]]:
    """Return how many refined prompts there are in these pulls, and the phrases that they add to the naive ones."""
    blocks, refinements = store.all_blocks().values(), store.refinements()
    naive = {prompt.id: prompt.text for prompt in store.prompts("train")}
    by_batch: dict[int, list[tuple[str, int]]] = {}
    for block in blocks:
        if block.split == "train":
            by_batch.setdefault(block.batch, []).append((block.prompt_id, block.replicate))
    results, shown = 0, set()
    for arm, batch in pulls:
        for prompt, replicate in by_batch.get(batch, []):
            row = refinements.get((arm, prompt, replicate))
            if row and not row["error"]:
                results += 1
                own = {phrase.lower() for phrase in phrases(naive[prompt])}
                shown |= {phrase.lower() for phrase in phrases(row["text"])} - own
    return results, shown


def what_it_says(text: str, shown: Iterable[str], clear: float = CLEAR) -> dict[tuple[str, str], int]:
    """Return what a gradient says of each phrase in each family.

    The offline gradient: the sign of an effect more than `clear` standard deviations from 0, under the family's style
    word where it has one, else in general. Any other text: a phrase is said to help when a sentence that names it has a
    word of helping ("add", "improves", ...) and none of harming ("avoid", "worse", ...), and the reverse; for all
    families.
    """
    found = read_evidence(text)
    if found is None:
        return {(phrase, family): _free_text(text, phrase) for phrase in shown for family in FAMILIES}
    signs = {(e.phrase, e.word): (e.mean > clear * e.sd) - (e.mean < -clear * e.sd) for e in found.effects}
    return {
        (phrase, family): signs.get((phrase, STYLE_WORDS[family]), signs.get((phrase, ""), 0))
        for phrase in shown
        for family in FAMILIES
    }


def _free_text(text: str, phrase: str) -> int:
    """Return what plain sentences say of a phrase: +1, -1, or 0 when nothing or both."""
    sentences = [s.lower() for s in re.split(r"[.;\n]", text) if mentions(s, phrase)]
    rest = [re.sub(re.escape(phrase), " ", sentence) for sentence in sentences]
    helps = any(_HELPS.search(s) and not _HARMS.search(s) for s in rest)
    harms = any(_HARMS.search(s) and not _HELPS.search(s) for s in rest)
    return helps - harms


@functools.cache
def known_effects() -> Verdicts:
    """Return what each of the miniworld's terms does in each family, by its renderer and its annotator (3 s)."""
    from miniworld.grammar import holdout_prompts
    from miniworld.renderer import render
    from miniworld.truth import taste_scores, to_array

    scenes = [prompt.scene for prompt in holdout_prompts(0, SCENES)]

    def values(family: str, terms: tuple[str, ...]) -> np.ndarray:
        mine = [scene.with_terms(terms) for scene in scenes if scene.family == family]
        drawn = [render(scene, generator("known-effects", place)) for place, scene in enumerate(mine)]
        return taste_scores(to_array(drawn), [family] * len(drawn))

    found = {}
    for family in FAMILIES:
        plain = values(family, ())
        for term in TERMS:
            change = float((values(family, (term,)) - plain).mean())
            found[term, family] = (change > FELT) - (change < -FELT)
    return found


def _tally(text: str, batch_size: int, results: int, said: Verdicts) -> Tally:
    truth, signs = known_effects(), {"helpful": 1, "harmful": -1}
    return Tally(
        text,
        batch_size,
        results,
        said={name: sum(verdict == sign for verdict in said.values()) for name, sign in signs.items()},
        true={name: sum(truth.get(key, 0) == sign for key in said) for name, sign in signs.items()},
        right={
            name: sum(verdict == sign == truth.get(key, 0) for key, verdict in said.items())
            for name, sign in signs.items()
        },
        asked=len(said),
    )


def _summary(tallies: Sequence[Tally]) -> dict[str, Any]:
    def counted(name: str) -> dict[str, Any]:
        right = [tally.right[name] for tally in tallies]
        return {
            "precision": _ratio(right, [tally.said[name] for tally in tallies]),
            "recall": _ratio(right, [tally.true[name] for tally in tallies]),
            "chance": sum(tally.true[name] for tally in tallies) / max(1, sum(tally.asked for tally in tallies)),
        }

    results = sum(tally.results for tally in tallies) / len(tallies)
    return {
        "gradients": len(tallies),
        "results": results,
        "helpful": counted("helpful"),
        "harmful": counted("harmful"),
    }


def _ratio(parts: Sequence[int], wholes: Sequence[int], draws: int = 2000) -> dict[str, Any] | None:
    """Return the ratio of the sums with a 95 % interval over runs, None when the whole is nothing."""
    if not sum(wholes):
        return None
    chosen = generator("gradients").integers(len(parts), size=(draws, len(parts)))
    above, below = np.asarray(parts)[chosen].sum(axis=1), np.asarray(wholes)[chosen].sum(axis=1)
    low, high = np.percentile(above[below > 0] / below[below > 0], [2.5, 97.5])
    return {"mean": sum(parts) / sum(wholes), "ci95": [float(low), float(high)]}

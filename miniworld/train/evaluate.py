"""Stage 10: the figures of the card, on held-out prompts.

Prompts come from test scenes, which nothing was trained or tuned on. Every condition is drawn from the same seeds.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from miniworld import PIPELINE
from miniworld.grammar import NaivePrompt, draw_prompts, holdout_prompts
from miniworld.judge import ASPECTS, right_probabilities
from miniworld.renderer import render
from miniworld.statistics import Batch, edge_energy
from miniworld.train.bootstrap import Estimate, bootstrap, effect_size, rank_correlation
from miniworld.train.clip import checkpoint_of, image_features, text_features
from miniworld.train.export import RENDER_DEFAULTS
from miniworld.train.generate import draw, load_pipeline
from miniworld.train.stages import Workspace, write_json
from miniworld.train.text import encode, load_text
from miniworld.truth import scene_scores, to_array
from miniworld.vocabulary import FAMILIES, FAMILY_TERMS, GENERAL_TERMS, TERMS

PROMPTS, SEEDS = 160, 2
HARMFUL_SET: tuple[str, ...] = ("blurry", "dull colors", "grainy")
SOURCES = ("pipeline", "renderer")
_CANDIDATES = 7
_TUNING_SCENES = 16
_TIMED_IMAGES = 64

Terms = tuple[str, ...]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What was measured of one condition, each of shape (prompts, seeds).

    Attributes:
        truth: The annotator's value.
        score: The preference model's similarity to the naive prompt; zeros for the renderer.
        edges: Edge energy.
        right: The judge's probability of the right value, by aspect.
    """

    truth: Values
    score: Values
    edges: Values
    right: dict[str, Values]


def best_sets(space: Workspace) -> dict[str, Terms]:
    """Each family's best three terms by truth, chosen with the renderer on validation scenes."""
    chosen: dict[str, Terms] = {}
    for family in FAMILIES:
        prompts = [p for p in draw_prompts("validation", space.seed("sets"), 4 * _TUNING_SCENES) if p.family == family]
        ranked = sorted(TERMS, key=lambda term: -_rendered_truth(prompts, (term,)))
        triples = list(itertools.combinations(ranked[:_CANDIDATES], 3))
        chosen[family] = max(triples, key=lambda terms: _rendered_truth(prompts, terms))
    return chosen


def _rendered_truth(prompts: list[NaivePrompt], terms: Terms) -> float:
    scenes = [prompt.scene.with_terms(terms) for prompt in prompts]
    return float(
        np.mean(scene_scores([render(scene, np.random.default_rng(k)) for k, scene in enumerate(scenes)], scenes))
    )


def nine_terms(family: str) -> Terms:
    """All seven terms that help a family, and two popular words that do nothing: only their number is against them."""
    return (*GENERAL_TERMS, *FAMILY_TERMS[family], "8k", "beautiful")


def conditions(family: str, sets: dict[str, Terms]) -> dict[str, Terms]:
    """The sets of terms that a prompt is measured with: the contact sheet's four and the other families' best sets."""
    transfer = {f"set of {other}": sets[other] for other in FAMILIES}
    return {
        "naive": (),
        "three good": sets[family],
        "three harmful": HARMFUL_SET,
        "nine terms": nine_terms(family),
        **transfer,
    }


def make_images(prompts: list[NaivePrompt], terms: list[Terms], source: str, pipeline: Any) -> list[Image.Image]:
    """One picture per prompt and seed (seeds fastest), by the pipeline or by the renderer."""
    jobs = [
        (prompt, words, 1000 * index + seed)
        for index, (prompt, words) in enumerate(zip(prompts, terms, strict=True))
        for seed in range(SEEDS)
    ]
    if source == "renderer":
        return [render(prompt.scene.with_terms(words), np.random.default_rng(seed)) for prompt, words, seed in jobs]
    texts = [", ".join((prompt.prompt, *words)) for prompt, words, _ in jobs]
    return draw(pipeline, texts, [seed for _, _, seed in jobs], **RENDER_DEFAULTS)


def measure_images(images: list[Image.Image], prompts: list[NaivePrompt], scorer: Any) -> Measured:
    """Truth, score, edges and judge of one condition's pictures."""
    scenes = [prompt.scene for prompt in prompts for _ in range(SEEDS)]
    texts = [prompt.prompt for prompt in prompts for _ in range(SEEDS)]
    shape = (len(prompts), SEEDS)
    right = {aspect: np.array(values).reshape(shape) for aspect, values in right_probabilities(images, scenes).items()}
    pictures = to_array(images)
    return Measured(
        truth=np.array(scene_scores(images, scenes)).reshape(shape),
        score=scorer(pictures, texts).reshape(shape),
        edges=edge_energy(pictures).astype(float).reshape(shape),
        right=right,
    )


def make_scorer(space: Workspace) -> Any:
    """The preference model as a function of pictures and texts to similarities."""
    model, (tokenizer, _) = checkpoint_of(space, "preference"), load_text(space)

    @torch.no_grad()
    def score(pictures: Batch, texts: list[str]) -> Values:
        unit = torch.from_numpy(pictures) * 2 - 1
        similarity = (image_features(model, unit) * text_features(model, encode(tokenizer, texts))).sum(dim=1)
        return similarity.double().numpy()

    return score


def time_drawing(pipeline: Any, prompts: list[NaivePrompt], scorer: Any) -> float:
    """Seconds per picture at batch 16, from text to score, with the threads that torch was given."""
    texts = [prompts[k % len(prompts)].prompt for k in range(_TIMED_IMAGES)]
    draw(pipeline, texts[:16], list(range(16)), **RENDER_DEFAULTS)
    start = time.perf_counter()
    images = draw(pipeline, texts, list(range(_TIMED_IMAGES)), **RENDER_DEFAULTS)
    for first in range(0, _TIMED_IMAGES, 16):
        scorer(to_array(images[first : first + 16]), texts[first : first + 16])
    return (time.perf_counter() - start) / _TIMED_IMAGES


def compare(measured: dict[str, Measured], first: str, second: str) -> dict[str, Any]:
    """Truth of one condition minus another's: mean difference, dz and win rate, over prompts."""
    difference = (measured[first].truth - measured[second].truth).mean(axis=1)
    return {
        "difference": bootstrap(difference).plain(),
        "dz": bootstrap(difference, effect_size).plain(),
        "win_rate": bootstrap((difference > 0).astype(float)).plain(),
    }


def within_prompt_correlation(measured: dict[str, Measured], names: list[str]) -> Estimate:
    """Rank correlation of score and truth over one prompt's pictures, averaged over prompts."""
    score = np.concatenate([measured[name].score for name in names], axis=1)
    truth = np.concatenate([measured[name].truth for name in names], axis=1)
    return bootstrap(np.array([rank_correlation(a, b) for a, b in zip(score, truth, strict=True)]))


def transfer_table(measured: dict[str, Measured], prompts: list[NaivePrompt]) -> dict[str, dict[str, float]]:
    """Mean truth gain over naive, by the prompt's family (rows) and the set's family (columns)."""
    table = {}
    for family in FAMILIES:
        rows = [k for k, prompt in enumerate(prompts) if prompt.family == family]
        naive = measured["naive"].truth[rows].mean()
        table[family] = {
            other: round(float(measured[f"set of {other}"].truth[rows].mean() - naive), 3) for other in FAMILIES
        }
    return table


def summarise(measured: dict[str, Measured], prompts: list[NaivePrompt], source: str) -> dict[str, Any]:
    """All figures of one source of pictures."""
    rows = ("naive", "three good", "three harmful", "nine terms")
    summary: dict[str, Any] = {
        "judge": {row: {a: bootstrap(measured[row].right[a].mean(axis=1)).plain() for a in ASPECTS} for row in rows},
        "edges": {row: bootstrap(measured[row].edges.mean(axis=1)).plain() for row in rows},
        "good - naive": compare(measured, "three good", "naive"),
        "harmful - naive": compare(measured, "three harmful", "naive"),
        "nine - good": compare(measured, "nine terms", "three good"),
        "transfer": transfer_table(measured, prompts),
    }
    names = ["naive", "three harmful", "nine terms", *(f"set of {other}" for other in FAMILIES)]
    summary["rank correlation"] = within_prompt_correlation(measured, names).plain()
    if source == "pipeline":
        gain = (measured["three good"].score - measured["naive"].score).mean(axis=1)
        summary["score gain"] = {
            "dz": bootstrap(gain, effect_size).plain(),
            "win_rate": bootstrap((gain > 0).astype(float)).plain(),
        }
    return summary


def run(space: Workspace) -> dict[str, Any]:
    """Measure everything and write figures.json."""
    prompts = holdout_prompts(0, space.amount(PROMPTS, least=8))
    sets, scorer, pipeline = best_sets(space), make_scorer(space), load_pipeline(space.shipped(PIPELINE))
    figures: dict[str, Any] = {"sets": sets, "prompts": len(prompts), "seeds": SEEDS}
    for source in SOURCES:
        measured = {}
        for name in conditions(FAMILIES[0], sets):
            terms = [conditions(prompt.family, sets)[name] for prompt in prompts]
            measured[name] = measure_images(make_images(prompts, terms, source, pipeline), prompts, scorer)
        figures[source] = summarise(measured, prompts, source)
    figures["seconds_per_image"] = round(time_drawing(pipeline, prompts, scorer), 4)
    write_json(space.path("figures.json"), figures)
    return {"seconds_per_image": figures["seconds_per_image"]}

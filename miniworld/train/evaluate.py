"""The figures of the card, on held-out prompts.

Prompts come from test scenes, which nothing was trained or tuned on. Every condition is drawn from the same seeds.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
from PIL import Image

from miniworld.grammar import NaivePrompt, describe, holdout_prompts
from miniworld.judge import ASPECTS
from miniworld.train.bootstrap import Estimate, bootstrap, effect_size, rank_correlation
from miniworld.train.conditions import ROWS, Terms, best_sets, conditions
from miniworld.train.fooling import fooling_table
from miniworld.train.generate import draw, load_pipeline
from miniworld.train.measure import (
    RENDERER,
    SEEDS,
    Measured,
    Scorer,
    Values,
    make_images,
    make_scorers,
    measure_images,
    score_all,
)
from miniworld.train.pairs import Gallery, scene_of
from miniworld.train.pipelines import PIPELINES, RENDER_DEFAULTS
from miniworld.train.preference import load_galleries
from miniworld.train.stages import Workspace, write_json
from miniworld.train.variance import common_seed_ratio, frechet_distance, variance_shares
from miniworld.truth import to_array
from miniworld.vocabulary import FAMILIES

PROMPTS = 160
OPTIMISED = "hps-like"
_TIMED_BATCH, _TIMED_IMAGES = 32, 96

Conditions = dict[str, Measured]


def measure_source(prompts: list[NaivePrompt], sets: dict[str, Terms], pipeline: Any, scorers: Any) -> Conditions:
    """Measure every condition of one source of pictures: a pipeline, or the renderer if it is None."""
    measured = {}
    for name in conditions(FAMILIES[0], sets):
        terms = [conditions(prompt.family, sets)[name] for prompt in prompts]
        measured[name] = measure_images(make_images(prompts, terms, pipeline), prompts, scorers)
    return measured


def time_drawing(pipeline: Any, prompts: list[NaivePrompt], scorer: Scorer) -> float:
    """Seconds per picture at batch 32, from text to score, with the threads that torch was given."""
    texts = [prompts[k % len(prompts)].prompt for k in range(_TIMED_IMAGES)]
    draw(pipeline, texts[:_TIMED_BATCH], list(range(_TIMED_BATCH)), RENDER_DEFAULTS, batch=_TIMED_BATCH)
    start = time.perf_counter()
    images = draw(pipeline, texts, list(range(_TIMED_IMAGES)), RENDER_DEFAULTS, batch=_TIMED_BATCH)
    score_all({"timed": scorer}, to_array(images), texts)
    return (time.perf_counter() - start) / _TIMED_IMAGES


def compare(measured: Conditions, first: str, second: str, rows: list[int]) -> dict[str, Any]:
    """Truth of one condition minus another's: mean difference, dz and win rate, over the prompts in ``rows``."""
    difference = (measured[first].truth - measured[second].truth).mean(axis=1)[rows]
    return {
        "difference": bootstrap(difference).plain(),
        "dz": bootstrap(difference, effect_size).plain(),
        "win_rate": bootstrap((difference > 0).astype(float)).plain(),
    }


def family_rows(prompts: list[NaivePrompt]) -> dict[str, list[int]]:
    """Row numbers of each family's prompts."""
    return {family: [k for k, prompt in enumerate(prompts) if prompt.family == family] for family in FAMILIES}


def transfer_table(measured: Conditions, prompts: list[NaivePrompt]) -> dict[str, dict[str, Any]]:
    """Truth gain over naive by the prompt's family and the set's, and how far the own set is ahead of the next best."""
    table = {}
    for family, rows in family_rows(prompts).items():
        gain = {
            other: (measured[f"set of {other}"].truth - measured["naive"].truth).mean(axis=1)[rows]
            for other in FAMILIES
        }
        rival = max((other for other in FAMILIES if other != family), key=lambda other: float(gain[other].mean()))
        table[family] = {
            "gain": {other: round(float(values.mean()), 3) for other, values in gain.items()},
            "ahead": bootstrap(gain[family] - gain[rival]).plain(),
        }
    return table


def summarise(measured: Conditions, prompts: list[NaivePrompt]) -> dict[str, Any]:
    """The figures of one source of pictures."""
    everyone = list(range(len(prompts)))
    return {
        "judge": {row: {a: bootstrap(measured[row].right[a].mean(axis=1)).plain() for a in ASPECTS} for row in ROWS},
        "edges": {row: bootstrap(measured[row].edges.mean(axis=1)).plain() for row in ROWS},
        "good - naive": compare(measured, "three good", "naive", everyone),
        "harmful - naive": compare(measured, "three harmful", "naive", everyone),
        "nine - good": compare(measured, "nine terms", "three good", everyone),
        "nine - good by family": {
            family: compare(measured, "nine terms", "three good", rows)["difference"]
            for family, rows in family_rows(prompts).items()
        },
        "transfer": transfer_table(measured, prompts),
    }


def summarise_seeds(measured: Conditions) -> dict[str, Any]:
    """What common seeds save, and where the variance lies, for the truth and for the optimised scorer."""
    instructions = ["naive", "three harmful", "nine terms", *(f"set of {family}" for family in FAMILIES)]
    summary = {}
    for name in ("truth", OPTIMISED):
        values = {
            row: measured[row].truth if name == "truth" else measured[row].scores[name]
            for row in {*ROWS, *instructions}
        }
        summary[name] = {
            "common seeds": {row: common_seed_ratio(values["naive"], values[row]).plain() for row in ROWS[1:]},
            "shares": {
                part: round(share, 4)
                for part, share in variance_shares(np.stack([values[row] for row in instructions], axis=1)).items()
            },
        }
    return summary


def edge_ratio(drawn: Conditions, rendered: Conditions, row: str) -> Estimate:
    """Edge energy of a pipeline's pictures over that of the renders."""
    both = np.stack([drawn[row].edges.mean(axis=1), rendered[row].edges.mean(axis=1)], axis=1)
    return bootstrap(both, lambda values: float(values[:, 0].sum() / values[:, 1].sum()))


def frechet(drawn: Conditions, rendered: Conditions, rows: tuple[str, ...]) -> float:
    """Frechet distance on the judge's features, over the pictures of some conditions."""
    sets = [
        np.concatenate([part[row].features.reshape(-1, part[row].features.shape[-1]) for row in rows])
        for part in (drawn, rendered)
    ]
    return round(frechet_distance(*sets), 3)


def summarise_scorers(measured: Conditions) -> dict[str, Any]:
    """Rank correlations of truth and scorers within a prompt, and what each scorer gives to the conditions."""
    rows = ["naive", "three harmful", "nine terms", *(f"set of {family}" for family in FAMILIES)]

    def joined(name: str) -> Values:
        parts = [measured[row].truth if name == "truth" else measured[row].scores[name] for row in rows]
        return np.concatenate(parts, axis=1)

    names = ["truth", *measured["naive"].scores]
    table = {name: joined(name) for name in names}
    correlations = {
        f"{first} | {second}": bootstrap(
            np.array([rank_correlation(a, b) for a, b in zip(table[first], table[second], strict=True)])
        ).plain()
        for first, second in itertools.combinations(names, 2)
    }
    found: dict[str, Any] = {"correlations": correlations, "gains": {}}
    for name in measured["naive"].scores:
        for row in ROWS[1:]:
            gain = (measured[row].scores[name] - measured["naive"].scores[name]).mean(axis=1)
            found["gains"].setdefault(name, {})[row] = {
                "dz": bootstrap(gain, effect_size).plain(),
                "win_rate": bootstrap((gain > 0).astype(float)).plain(),
            }
    return found


def pair_accuracies(space: Workspace, scorers: dict[str, Scorer]) -> dict[str, dict[str, dict[str, float]]]:
    """Share of held-out pairs ranked as the noisy label says, and as the truth says, by scorer and kind of picture."""
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in scorers}
    for place, (gallery, pairs) in load_galleries(space).items():
        reader, _, kind = place.partition("/")
        if reader != "held_out":
            continue
        truth = gallery.truth[pairs].numpy()
        for name, values in gallery_scores(gallery, scorers).items():
            right = values[pairs[:, 0].numpy()] > values[pairs[:, 1].numpy()]
            clean = right == (truth[:, 0] > truth[:, 1])
            table[name][kind] = {"noisy": round(float(right.mean()), 4), "clean": round(float(clean.mean()), 4)}
    return table


def gallery_scores(gallery: Gallery, scorers: dict[str, Scorer]) -> dict[str, Values]:
    """Every scorer's number for every picture and the first wording of its naive prompt, shape (n,)."""
    texts = [describe(scene_of(index)) for index in gallery.scenes.tolist()]
    pictures = to_array([Image.fromarray(image) for image in gallery.images.numpy()])
    return score_all(scorers, pictures, texts)


def run(space: Workspace) -> dict[str, Any]:
    """Measure everything and write figures.json."""
    prompts, scorers = holdout_prompts(0, space.amount(PROMPTS, least=8)), make_scorers(space)
    sets = best_sets(space)
    pipelines = {name: load_pipeline(space.shipped(folder)) for name, folder in PIPELINES.items()}
    figures: dict[str, Any] = {"sets": sets, "prompts": len(prompts), "seeds": SEEDS}
    figures["seconds_per_image"] = {
        name: round(time_drawing(pipeline, prompts, scorers[OPTIMISED]), 4) for name, pipeline in pipelines.items()
    }
    measured = {
        source: measure_source(prompts, sets, pipeline, scorers)
        for source, pipeline in {RENDERER: None, **pipelines}.items()
    }
    rendered = measured[RENDERER]
    for source, found in measured.items():
        figures[source] = summarise(found, prompts)
        if source != RENDERER:
            figures[source]["edge ratio"] = {row: edge_ratio(found, rendered, row).plain() for row in ROWS}
            figures[source]["frechet"] = {
                **{row: frechet(found, rendered, (row,)) for row in ROWS},
                "all": frechet(found, rendered, ROWS),
            }
    again = {
        row: measure_images(
            make_images(prompts, [conditions(p.family, sets)[row] for p in prompts], None, first_seed=SEEDS),
            prompts,
            {},
        )
        for row in ROWS
    }
    floor = {**{row: frechet(again, rendered, (row,)) for row in ROWS}, "all": frechet(again, rendered, ROWS)}
    figures[RENDERER]["frechet"] = floor
    first = next(iter(PIPELINES))
    figures["variance"] = summarise_seeds(measured[first])
    figures["scorers"] = summarise_scorers(measured[first])
    figures["pair accuracy"] = pair_accuracies(space, scorers)
    figures["fooled"] = fooling_table(space, prompts, pipelines[first], scorers)
    write_json(space.path("figures.json"), figures)
    return {"seconds_per_image": figures["seconds_per_image"][first]}

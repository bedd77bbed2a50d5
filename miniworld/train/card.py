"""``CARD.md`` and the contact sheets, from what the other stages recorded."""

from __future__ import annotations

import json
from typing import Any

from miniworld import (
    AESTHETIC,
    JUDGE,
    PICK,
    PIPELINE,
    PIVOT,
    PROMPTS,
    REWARD,
    ROOT,
    SCORER,
    SECOND_PIPELINE,
)
from miniworld.judge import ASPECTS
from miniworld.train.conditions import ROWS
from miniworld.train.contact_sheet import contact_sheet
from miniworld.train.evaluate import OPTIMISED
from miniworld.train.export import folder_bytes
from miniworld.train.generate import load_pipeline
from miniworld.train.measure import RENDERER
from miniworld.train.pipelines import PIPELINES
from miniworld.train.stages import Workspace
from miniworld.train.variance import COMPONENTS
from miniworld.vocabulary import FAMILIES

SHEETS = {"unet": "contact_sheet.png", "second_unet": "second_contact_sheet.png"}
SOURCE_NAMES = {"unet": "pipeline", "second_unet": "second pipeline", RENDERER: "renderer"}
"""What the card calls the sources of pictures, in the order of its tables."""
_WANTED = 0.97
_WANTED_EDGES = 0.85
_WANTED_SECONDS = 0.035
_MIB = 2**20


def _span(triple: list[float], digits: int = 3) -> str:
    value, low, high = (f"{number:.{digits}f}" for number in triple)
    return f"{value} [{low}, {high}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def size_section(space: Workspace) -> str:
    """Bytes of everything that ships, measured on the files."""
    folders = (PIPELINE, SECOND_PIPELINE, SCORER, PICK, AESTHETIC, REWARD, PIVOT, JUDGE, PROMPTS)
    sizes = {f"`{folder.name}/`": folder_bytes(space.shipped(folder)) for folder in folders}
    sizes["contact sheets"] = sum(space.shipped(ROOT / sheet).stat().st_size for sheet in SHEETS.values())
    sizes["in all"] = sum(sizes.values())
    return _table(["part", "bytes", "MiB"], [[name, f"{size:,}", f"{size / _MIB:.2f}"] for name, size in sizes.items()])


def judge_section(figures: dict[str, Any]) -> str:
    """Judge probabilities, edge energy and Frechet distance, pipelines beside renderer."""
    rows = []
    for row in ROWS:
        for source, name in SOURCE_NAMES.items():
            found = figures[source]
            judged = [_span(found["judge"][row][aspect]) for aspect in ASPECTS]
            ratio = _span(found["edge ratio"][row], 2) if source != RENDERER else "1"
            rows.append([row, name, *judged, ratio, f"{found['frechet'][row]:.2f}"])
    for source, name in SOURCE_NAMES.items():
        rows.append(["all four", name, *[""] * 5, f"{figures[source]['frechet']['all']:.2f}"])
    wanted = ["wanted of the pipeline (naive, three good)", "", *[f">= {_WANTED}"] * 4]
    head = ["terms", "drawn by", "P(subject)", "P(colour)", "P(place)", "P(style)", "edge energy / renders'", "Frechet"]
    return _table(head, [[*wanted, f"good >= {_WANTED_EDGES}", ""], *rows])


def truth_section(figures: dict[str, Any]) -> str:
    """Differences of truth between conditions."""
    wanted = {"good - naive": "dz >= 1, win rate >= .9", "harmful - naive": "< 0", "nine - good": "< 0"}
    rows = []
    for name, limit in wanted.items():
        for source, word in SOURCE_NAMES.items():
            found = figures[source][name]
            rows.append(
                [name, word, limit, _span(found["difference"]), _span(found["dz"], 2), _span(found["win_rate"])]
            )
    text = _table(["truth", "drawn by", "wanted", "difference", "dz", "win rate"], rows)
    rows = [
        [word, *(_span(figures[source]["nine - good by family"][family], 2) for family in FAMILIES)]
        for source, word in SOURCE_NAMES.items()
    ]
    return (
        text
        + "\nNine terms against three good ones, by family (wanted: below 0 in each):\n\n"
        + _table(["drawn by", *FAMILIES], rows)
    )


def transfer_section(figures: dict[str, Any]) -> str:
    """Truth gain of each family's best set on each family's prompts; the best of a row is bold."""
    text = ""
    for source, word in SOURCE_NAMES.items():
        table = figures[source]["transfer"]
        rows = []
        for family, found in table.items():
            gain = found["gain"]
            cells = [f"{gain[other]:.2f}" for other in FAMILIES]
            best = max(range(len(cells)), key=lambda k: gain[FAMILIES[k]])
            cells[best] = f"**{cells[best]}**"
            rows.append([family, *cells, _span(found["ahead"], 2)])
        clear = sum(found["ahead"][1] > 0 for found in table.values())
        text += f"\nDrawn by the {word}: own set ahead, interval above 0, in {clear} of 4 families (wanted: 4).\n\n"
        text += _table(["prompts of", *(f"set of {family}" for family in FAMILIES), "own - next best"], rows)
    return text


def scorer_section(figures: dict[str, Any], record: dict[str, Any]) -> str:
    """Pair accuracy beside the Bayes limit, and correlations within a prompt."""
    kinds = {"renders": "renders", "unet": "pipeline", "second_unet": "second pipeline"}
    limits = {kind: record["pairs"][f"held_out/{kind}"] for kind in kinds}
    rows = [["Bayes limit", *(f"{limits[kind]['bayes_limit']:.3f}" for kind in kinds)]]
    for scorer, found in figures["pair accuracy"].items():
        rows.append([scorer, *(f"{found[kind]['noisy']:.3f} ({found[kind]['clean']:.3f})" for kind in kinds)])
    counts = ", ".join(f"{limits[kind]['pairs']} of {name}" for kind, name in kinds.items())
    text = (
        f"Accuracy on held-out pairs ({counts}), and in brackets against the order of the noise-free truth. The picture"
        " is scored against the naive prompt.\n\n"
    )
    text += _table(["scorer", *(f"pictures of the {name}" for name in kinds.values())], rows)
    names = ["truth", *figures["pair accuracy"]]
    table = figures["scorers"]["correlations"]
    rows = []
    for k, first in enumerate(names[:-1]):
        cells = [_span(table[f"{first} | {second}"], 2) for second in names[k + 1 :]]
        rows.append([first, *[""] * k, *cells])
    text += "\nRank correlations over one prompt's pictures, mean over prompts:\n\n" + _table(["", *names[1:]], rows)
    rows = [
        [scorer, *(f"{_span(found[row]['dz'], 2)}, {found[row]['win_rate'][0]:.2f}" for row in ROWS[1:])]
        for scorer, found in figures["scorers"]["gains"].items()
    ]
    text += "\nWhat each gives to a condition over the naive prompt: dz, and the share of prompts that gain.\n\n"
    return text + _table(["scorer", *ROWS[1:]], rows)


def fooled_section(figures: dict[str, Any]) -> str:
    """The set that each scorer most overrates, and what the others say of it."""
    names = list(figures["pair accuracy"])
    rows = []
    for found in figures["fooled"]:
        cells = [f"{found['scores'][name][0]:+.2f}" for name in names]
        cells[names.index(found["scorer"])] = f"**{_span(found['scores'][found['scorer']], 2)}**"
        rows.append([found["scorer"], ", ".join(found["terms"]), _span(found["truth"], 2), *cells])
    return _table(["fooled", "terms", "truth", *names], rows)


def variance_section(figures: dict[str, Any]) -> str:
    """Variance shares, and what common seeds save."""
    variance = figures["variance"]
    text = _table(
        ["share of the variance", *variance],
        [[part, *(f"{found['shares'][part]:.3f}" for found in variance.values())] for part in COMPONENTS],
    )
    rows = [
        [f"{row} - naive", *(_span(found["common seeds"][row], 2) for found in variance.values())] for row in ROWS[1:]
    ]
    return text + "\n" + _table(["var(difference), common seeds / independent", *variance], rows)


def shortfalls(figures: dict[str, Any]) -> str:
    """What was wanted of the default pipeline and is not there, one line each."""
    first = next(iter(PIPELINES))
    found, missed = figures[first], []
    for row in ROWS[:2]:
        for aspect, (value, low, high) in found["judge"][row].items():
            if round(value, 3) < _WANTED:
                missed.append(f"P({aspect}) with {row} terms: {value:.3f} [{low:.3f}, {high:.3f}], wanted {_WANTED}")
    edges = found["edge ratio"]["three good"]
    if edges[0] < _WANTED_EDGES:
        missed.append(f"edge energy with three good terms: {_span(edges, 2)} of the renders', wanted {_WANTED_EDGES}")
    for family, line in found["transfer"].items():
        if line["ahead"][1] <= 0:
            missed.append(f"the set of {family} is not clearly ahead on its own prompts: {_span(line['ahead'], 2)}")
    for family, span in found["nine - good by family"].items():
        if span[2] >= 0:
            missed.append(f"nine terms are not clearly worse than three in {family}: {_span(span, 2)}")
    if figures["seconds_per_image"][first] > _WANTED_SECONDS:
        missed.append(f"{figures['seconds_per_image'][first]:.4f} s an image, wanted {_WANTED_SECONDS}")
    return "\n".join(f"- {line}" for line in missed) or "- nothing that was measured"


def speed_section(figures: dict[str, Any]) -> str:
    """Seconds an image."""
    rows = [
        [SOURCE_NAMES[name], f"<= {_WANTED_SECONDS}" if name == next(iter(PIPELINES)) else "", f"{seconds:.4f}"]
        for name, seconds in figures["seconds_per_image"].items()
    ]
    return _table(
        ["drawn by", "wanted", f"s an image, text to {OPTIMISED} score, batch 32, two threads waiting passively"], rows
    )


def training_section(record: dict[str, Any]) -> str:
    """Wall seconds and figures of every stage."""
    rows = []
    for name, found in record.items():
        details = {key: value for key, value in found.items() if key not in ("seconds", "bytes")}
        rows.append([name, f"{found['seconds']:.0f}", json.dumps(details).replace('"', "")[1:-1]])
    return _table(["stage", "wall s", "figures"], rows)


def run(space: Workspace) -> dict[str, Any]:
    """Write the contact sheets and the card."""
    figures = json.loads(space.path("figures.json").read_text())
    sets = {family: tuple(terms) for family, terms in figures["sets"].items()}
    for name, sheet in SHEETS.items():
        contact_sheet(load_pipeline(space.shipped(PIPELINES[name])), sets, space.shipped(ROOT / sheet))
    record = space.record()
    best = "\n".join(f"- {family}: {', '.join(terms)}" for family, terms in sets.items())
    template = (ROOT / "train" / "card_template.md").read_text()
    text = template.format(
        prompts=figures["prompts"],
        seeds=figures["seeds"],
        finish_parameters=record["finish"]["parameters"],
        psnr_linear=record["finish"]["psnr_linear"],
        psnr=record["finish"]["psnr"],
        training=training_section(record),
        sizes=size_section(space),
        best=best,
        judge=judge_section(figures),
        truth=truth_section(figures),
        transfer=transfer_section(figures),
        variance=variance_section(figures),
        scorer=scorer_section(figures, record),
        fooled=fooled_section(figures),
        speed=speed_section(figures),
        shortfalls=shortfalls(figures),
    )
    space.shipped(ROOT / "CARD.md").write_text(text)
    return {}

"""Stage 11: ``CARD.md`` and the contact sheet, from what the other stages recorded."""

from __future__ import annotations

import json
from typing import Any

from miniworld import JUDGE, PIPELINE, PROMPTS, ROOT, SCORER
from miniworld.judge import ASPECTS
from miniworld.train.contact_sheet import ROWS, contact_sheet
from miniworld.train.export import folder_bytes
from miniworld.train.generate import load_pipeline
from miniworld.train.stages import Workspace
from miniworld.vocabulary import FAMILIES

SHEET = "contact_sheet.png"
_WANTED = {"subject": 0.95, "colour": 0.95, "place": 0.93, "family": 0.95}
_MIB = 2**20


def _span(triple: list[float], digits: int = 3) -> str:
    value, low, high = (f"{number:.{digits}f}" for number in triple)
    return f"{value} [{low}, {high}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def size_section(space: Workspace) -> str:
    """Bytes of everything that ships, measured on the files."""
    pipeline = space.shipped(PIPELINE)
    parts = {
        "unet": pipeline / "unet",
        "text encoder": pipeline / "text_encoder",
        "tokenizer, scheduler, indices": None,
        "vae": pipeline / "vae",
        "scorer": space.shipped(SCORER),
        "judge": space.shipped(JUDGE),
        "prompts": space.shipped(PROMPTS),
    }
    sizes = {name: folder_bytes(folder) for name, folder in parts.items() if folder is not None}
    sizes["tokenizer, scheduler, indices"] = folder_bytes(pipeline) - sum(
        sizes[name] for name in ("unet", "text encoder", "vae")
    )
    sizes["contact sheet"] = space.shipped(ROOT / SHEET).stat().st_size
    sizes["in all (limit 15 MiB)"] = sum(sizes.values())
    return _table(["part", "bytes", "MiB"], [[name, f"{size:,}", f"{size / _MIB:.2f}"] for name, size in sizes.items()])


def judge_section(figures: dict[str, Any]) -> str:
    """Judge probabilities and edge energy, pipeline beside renderer."""
    rows = []
    for row in ROWS:
        for source in ("pipeline", "renderer"):
            judged = figures[source]["judge"][row]
            rows.append(
                [row, source, *(_span(judged[aspect]) for aspect in ASPECTS), _span(figures[source]["edges"][row], 0)]
            )
    wanted = [
        "wanted (naive, three good)",
        "",
        *(f">= {_WANTED[aspect]}" for aspect in ASPECTS),
        "good >= 2/3 of the renderer's",
    ]
    return _table(
        ["terms", "drawn by", "P(subject)", "P(colour)", "P(place)", "P(style)", "edge energy"], [wanted, *rows]
    )


def truth_section(figures: dict[str, Any]) -> str:
    """Differences of truth between conditions."""
    wanted = {"good - naive": "dz >= 1, win rate >= .9", "harmful - naive": "< 0", "nine - good": "< 0"}
    rows = []
    for name, limit in wanted.items():
        for source in ("pipeline", "renderer"):
            found = figures[source][name]
            rows.append(
                [name, source, limit, _span(found["difference"]), _span(found["dz"], 2), _span(found["win_rate"])]
            )
    return _table(["truth", "drawn by", "wanted", "difference", "dz", "win rate"], rows)


def transfer_section(figures: dict[str, Any]) -> str:
    """Truth gain of each family's best set on each family's prompts; the best of a row is bold."""
    text = ""
    for source in ("pipeline", "renderer"):
        table = figures[source]["transfer"]
        ahead = sum(max(row, key=row.__getitem__) == family for family, row in table.items())
        rows = [
            [
                family,
                *(
                    f"**{row[other]:.2f}**" if row[other] == max(row.values()) else f"{row[other]:.2f}"
                    for other in FAMILIES
                ),
            ]
            for family, row in table.items()
        ]
        text += f"\nDrawn by the {source}: own set ahead in {ahead} of 4 families (wanted: at least 3).\n\n"
        text += _table(["prompts of", *(f"set of {family}" for family in FAMILIES)], rows)
    return text


def scorer_section(figures: dict[str, Any], record: dict[str, Any]) -> str:
    """The preference model: pair accuracy beside the Bayes limit, rank correlation, gains, speed."""
    rows = []
    for kind, words in (("renders", "renders"), ("drawn", "the pipeline's own pictures")):
        accuracy = record["preference"]["held_out_accuracy"][kind]
        limit = record["pairs"][f"held_out_{kind}"]["bayes_limit"]
        count = record["pairs"][f"held_out_{kind}"]["pairs"]
        rows.append(
            [
                f"held-out pair accuracy, {words} ({count} pairs)",
                ">= .77",
                f"{accuracy['noisy']:.3f} (Bayes limit {limit:.3f})",
            ]
        )
        rows.append(["- against the noise-free order", "", f"{accuracy['clean']:.3f}"])
    for source in ("pipeline", "renderer"):
        limit = ">= .5" if source == "pipeline" else ""
        rows.append(
            [
                f"rank correlation with truth within a prompt, {source}",
                limit,
                _span(figures[source]["rank correlation"]),
            ]
        )
    gain = figures["pipeline"]["score gain"]
    rows.append(["score, three good above naive: dz", "", _span(gain["dz"], 2)])
    rows.append(["score, three good above naive: win rate", "", _span(gain["win_rate"])])
    rows.append(["seconds an image, text to score, batch 16", "<= 0.045", f"{figures['seconds_per_image']:.4f}"])
    return _table(["scorer", "wanted", "found"], rows)


def training_section(record: dict[str, Any]) -> str:
    """Wall seconds and figures of every stage."""
    rows = []
    for name, found in record.items():
        details = {key: value for key, value in found.items() if key not in ("seconds", "bytes")}
        rows.append([name, f"{found['seconds']:.0f}", json.dumps(details).replace('"', "")[1:-1]])
    return _table(["stage", "wall s", "figures"], rows)


def run(space: Workspace) -> dict[str, Any]:
    """Write the contact sheet and the card."""
    figures = json.loads(space.path("figures.json").read_text())
    sets = {family: tuple(terms) for family, terms in figures["sets"].items()}
    contact_sheet(load_pipeline(space.shipped(PIPELINE)), sets, space.shipped(ROOT / SHEET))
    record = space.record()
    best = "\n".join(f"- {family}: {', '.join(terms)}" for family, terms in sets.items())
    template = (ROOT / "train" / "card_template.md").read_text()
    text = template.format(
        prompts=figures["prompts"],
        seeds=figures["seeds"],
        training=training_section(record),
        sizes=size_section(space),
        best=best,
        judge=judge_section(figures),
        truth=truth_section(figures),
        transfer=transfer_section(figures),
        scorer=scorer_section(figures, record),
    )
    space.shipped(ROOT / "CARD.md").write_text(text)
    return {}

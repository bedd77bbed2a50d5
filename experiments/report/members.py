"""The runs of a comparison: what each has found, and their pictures side by side."""

from collections.abc import Mapping

from core.records import NAIVE
from experiments.contact_sheet import chosen_prompts
from experiments.member import Member
from experiments.report.duels import shot
from rendering.cache import ImageCache
from reports.records import ComparisonRun, Gallery, GalleryRow, Shot

ROWS = 6
"""Prompts in the gallery."""
COLUMNS = 4
"""Levels in the gallery, beside the naive prompts."""


def run_line(one: Member) -> ComparisonRun:
    """Return a run's line in the list of all runs."""
    return ComparisonRun(
        name=one.folder.name,
        policy=one.config.bandit.policy,
        seed=one.config.run.seed,
        status=one.details.status,
        best=one.best,
        gain=one.gain,
        renders=one.details.ledger.get("renders", 0),
    )


def gallery(members: Mapping[str, Member], whose: str) -> Gallery | None:
    """Return what the runs recommend side by side, on test prompts and seeds that they share; None without any."""
    tested = _distinct({name: one for name, one in members.items() if one.gains()})
    if not tested:
        return None
    blocks = {name: _test_blocks(one) for name, one in tested.items()}
    shared = set.intersection(*(set(found) for found in blocks.values()))
    first, evidence = next((name, one.evidence) for name, one in tested.items())
    chosen: dict[str, tuple[str, int]] = {}
    for text, seed in sorted(shared, key=lambda key: blocks[first][key]):
        chosen.setdefault(text, (text, seed))
    prompts = [prompt for prompt in evidence.prompts.values() if prompt.split == "test" and prompt.text in chosen]
    rows = []
    for prompt in chosen_prompts(prompts, ROWS):
        key = chosen[prompt.text]
        shots = [_shot(tested[first], NAIVE, blocks[first][key])]
        shots += [_shot(one, one.best, blocks[name][key]) for name, one in tested.items()]
        rows.append(GalleryRow(prompt.text, prompt.group, key[1], tuple(shots)))
    if not rows:
        return None
    note = f"What each recommends, on {whose}test prompts, not picked by their scores; every row on one seed."
    return Gallery(("your prompt", *tested), tuple(rows), note)


def _distinct(members: Mapping[str, Member]) -> dict[str, Member]:
    """Return one run for each instruction that is recommended, under all names that recommend it; the best first."""
    names: dict[str, list[str]] = {}
    for name, one in members.items():
        names.setdefault(one.evidence.instructions[one.best].text, []).append(name)
    found = {", ".join(mine): members[mine[0]] for mine in names.values()}
    return dict(sorted(found.items(), key=lambda item: -item[1].gain.mean)[:COLUMNS])  # type: ignore[union-attr]


def _test_blocks(one: Member) -> dict[tuple[str, int], str]:
    """Return a run's drawn test blocks by naive text and seed."""
    evidence = one.evidence
    return {
        (evidence.prompts[block.prompt_id].text, block.seed): block.id
        for block in evidence.blocks.values()
        if block.split == "test" and (one.best, block.id) in evidence.drawn
    }


def _shot(one: Member, arm: str, block: str) -> Shot:
    return shot(one.evidence, ImageCache(one.folder.cache(one.config.storage.cache) / "images"), arm, block)

"""The winner against its rivals: paired differences on shared blocks, and the prompts where they differ most."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from core.records import NAIVE, Block
from core.text import phrases
from experiments.evidence import Evidence
from experiments.paired import by_prompt
from graph.workbench import INITIAL
from rendering.cache import ImageCache
from reports.pictures import embed
from reports.records import Duel, DuelLine, Example, PhraseLine, Picture, Shot

SPLITS = ("test", "validation", "train")
"""Freshest first."""
EXAMPLES = 3
"""Prompts shown where the winner won most, and where it lost most."""
PHRASES = 10
"""Most phrases in the table of what the winner adds."""
_COMMON = 2
"""Prompts that a phrase must be added to before it is more than chance."""
_TIE = 1e-9
"""Scores that differ by less are equal: two refinements of the same words give the same picture."""


def rivals(evidence: Evidence, best: str, runner_up: str) -> dict[str, str]:
    """Return the arms to hold the winner against, with their roles."""
    parent = evidence.instructions[best].parent
    roles: dict[str, list[str]] = {}
    for arm, role in (
        (NAIVE, ""),
        (parent, "its parent"),
        (runner_up, "the runner-up"),
        (INITIAL, "the initial instruction"),
    ):
        if arm and arm != best:
            roles.setdefault(arm, []).append(role)
    return {arm: " and ".join(words) for arm, words in roles.items()}


def duel(evidence: Evidence, images: ImageCache, best: str, rival: str, roles: str) -> Duel | None:
    """Return the winner against one rival; None when they share no block."""
    leads = {split: evidence.lead(split, best, rival) for split in SPLITS}
    lines = [line for split, lead in leads.items() if (line := _line(evidence, split, lead))]
    if not lines:
        return None
    shown = lines[0].split
    won, lost = _examples(evidence, images, best, rival, leads[shown])
    return Duel("your prompt" if rival == NAIVE else rival, roles, tuple(lines), shown, won, lost)


def shot(evidence: Evidence, images: ImageCache, arm: str, block: str) -> Shot:
    """Return what an arm drew on a block, or why there is nothing to see."""
    row = evidence.drawn.get((arm, block))
    if row is None:
        return Shot("", problem="not drawn")
    facts = {"negative": row["negative"], "score": evidence.scores.get(arm, {}).get(block)}
    if row["error"]:
        return Shot(row["prompt"], problem=f"failed: {row['error']}", **facts)
    picture = _picture(images.get(row["key"]))
    return Shot(
        row["prompt"], picture=picture, problem="" if picture else "the picture is no longer in the cache", **facts
    )


def _picture(path: Path | None) -> Picture | None:
    try:
        return embed(path) if path else None
    except OSError:  # pruned a moment ago
        return None


def _line(evidence: Evidence, split: str, lead: Mapping[str, float]) -> DuelLine | None:
    estimate = evidence.estimate(lead)
    if estimate is None:
        return None
    means = _means(evidence, lead).values()
    wins, losses = sum(mean > _TIE for mean in means), sum(mean < -_TIE for mean in means)
    return DuelLine(split, len(lead), estimate, wins, len(means) - wins - losses, losses)


def _means(evidence: Evidence, lead: Mapping[str, float]) -> dict[str, float]:
    grouped = by_prompt(lead, {block: evidence.blocks[block].prompt_id for block in lead})
    return {prompt: sum(values) / len(values) for prompt, values in grouped.items()}


def _examples(
    evidence: Evidence, images: ImageCache, best: str, rival: str, lead: Mapping[str, float]
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    means = _means(evidence, lead)
    ranked = sorted(means, key=lambda prompt: (-means[prompt], prompt))

    def example(prompt: str) -> Example:
        mine = [block for block in lead if evidence.blocks[block].prompt_id == prompt]
        typical: Block = evidence.blocks[min(mine, key=lambda block: (abs(lead[block] - means[prompt]), block))]
        ours, theirs = (shot(evidence, images, arm, typical.id) for arm in (best, rival))
        return Example(evidence.prompts[prompt].text, typical.seed, len(mine), means[prompt], ours, theirs)

    won = [example(prompt) for prompt in ranked[:EXAMPLES] if means[prompt] > _TIE]
    lost = [example(prompt) for prompt in ranked[::-1][:EXAMPLES] if means[prompt] < -_TIE]
    return tuple(won), tuple(lost)


def added_phrases(evidence: Evidence, best: str) -> tuple[PhraseLine, ...]:
    """Return the phrases that the winner adds most, on the freshest prompts that it and the initial one have met."""
    if best == INITIAL:
        return ()
    for split in SPLITS:
        ours, theirs = (_added(evidence, arm, split) for arm in (best, INITIAL))
        if ours and theirs:
            counts, others = (Counter(text for found in arm.values() for text in found) for arm in (ours, theirs))
            common = sorted(
                (text for text in counts if counts[text] >= _COMMON), key=lambda text: (-counts[text], text)
            )
            return tuple(PhraseLine(text, counts[text], others[text], len(ours)) for text in common[:PHRASES])
    return ()


def _added(evidence: Evidence, arm: str, split: str) -> dict[str, set[str]]:
    """Return, by naive prompt, the phrases that an arm's refined prompt has and the naive prompt has not."""
    found: dict[str, set[str]] = {}
    for (drawer, block), row in evidence.drawn.items():
        if drawer == arm and evidence.blocks[block].split == split:
            prompt = evidence.prompts[evidence.blocks[block].prompt_id]
            naive = prompt.text.lower()
            found[prompt.id] = {text for text in phrases(row["prompt"].lower()) if text not in naive}
    return found

"""The offline Instruction Modifier: turns the numbers of a textual gradient into new instructions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from agents.guards import kept_parts, without_keep_tags
from agents.messages import example_lines
from agents.offline.evidence import Effect, Evidence
from agents.offline.generator import NEGATIVE, borrowable
from agents.offline.plan import Plan, read_plan, write_plan
from agents.offline.regression import NOT
from agents.offline.wording import read_evidence
from core.text import unique

_COUNT = re.compile(r"\bWrite (\d+) instructions?\b")
_DEFAULT_COUNT = 2
_MOST_PHRASES = 8
_POOL = 8
_MOST_FORBIDDEN = 3
_STYLES = ((0.0, 0), (0.6, 1), (0.5, 0), (0.5, -1), (0.8, 0))
"""Per child: a phrase is constant if it is worth this part of the best one's worth, the other places go to phrases that
are tried; and how many phrases more than the best number. The first child exploits, the others also explore."""


def propose(parts: Mapping[str, str], message: str, rng: np.random.Generator) -> list[str]:
    """Return the instructions that a Modifier message asks for: first the exploiting one, then exploring ones."""
    asked = _COUNT.search(message)
    count = int(asked.group(1)) if asked else _DEFAULT_COUNT
    parent = parts.get("instruction", "")
    frozen = kept_parts(parent)
    plan = read_plan(without_keep_tags(_without_frozen(parent)))
    exemplar_phrases = borrowable(example_lines(parts))
    evidence = read_evidence(parts["gradient"])
    negative = NEGATIVE in parts.get("rules", "")
    texts: list[str] = []
    for k in range(4 * count):
        child = _blind(plan, k) if evidence is None else _child(plan, evidence, exemplar_phrases, k, rng)
        if negative and evidence is not None:
            child = _with_negative(child, evidence, k)
        text = "\n".join([*(f"<keep>{part}</keep>" for part in frozen), write_plan(child)])
        if text not in texts and text.strip() != parent.strip():
            texts.append(text)
        if len(texts) == count:
            break
    return texts


def _without_frozen(instruction: str) -> str:
    return re.sub(r"<keep>.*?</keep>\s*", "", instruction, flags=re.DOTALL)


def _blind(plan: Plan, k: int) -> Plan:
    """Without evidence: borrow another number of phrases."""
    size = 2 + (plan.borrow + k) % 5
    return replace(plan, borrow=size, at_most=max(size, len(plan.always) + size))


def _child(plan: Plan, evidence: Evidence, exemplar_phrases: Sequence[str], k: int, rng: np.random.Generator) -> Plan:
    general = {effect.phrase: effect for effect in _positive(evidence) if not effect.word}
    values = {phrase: effect.mean for phrase, effect in general.items()}
    size = best_number(sorted(values.values(), reverse=True), evidence.bend)
    bar, change = _STYLES[k % len(_STYLES)]
    size = max(2, size + change)
    harmful = [p for p, e in general.items() if e.mean + e.sd < 0 and not _helps_somewhere(p, evidence)]
    never = tuple(unique([*harmful, *evidence.subjects]))
    values = {phrase: mean for phrase, mean in values.items() if phrase not in evidence.subjects}
    always = _strong(values, bar, size)
    conditional = []
    for word in evidence.share:
        under = {**values, **{e.phrase: e.mean for e in _positive(evidence) if e.word == word}}
        group = _beside(_strong(under, bar, size), always, size)
        if group:
            conditional.append((word, tuple(group)))
    tries = size - len(always)
    pool = _promising(evidence, exemplar_phrases, [*always, *never])[:_POOL]
    if k >= len(_STYLES):
        pool = [pool[i] for i in sorted(rng.permutation(len(pool))[: max(tries, len(pool) // 2)])]
    return Plan(
        always=tuple(always),
        mentions=tuple(conditional),
        try_count=min(tries, len(pool)),
        try_pool=tuple(pool) if tries else (),
        never=never,
        at_most=size,
        borrow=max(0, tries - len(pool)),
        preamble=plan.preamble,
    )


def _positive(evidence: Evidence) -> list[Effect]:
    """Return the effects of what is added to the prompt itself."""
    return [effect for effect in evidence.effects if not effect.phrase.startswith(NOT)]


def _with_negative(plan: Plan, evidence: Evidence, k: int) -> Plan:
    """Forbid what helps when forbidden, and try what did harm in prompts and was not forbidden yet."""
    known = {e.phrase.removeprefix(NOT): e for e in evidence.effects if e.phrase.startswith(NOT) and not e.word}
    forbid = [phrase for phrase, effect in known.items() if effect.mean > 0][:_MOST_FORBIDDEN]
    hopeful = [phrase for phrase, effect in known.items() if phrase not in forbid and effect.mean + effect.sd > 0]
    harmful = [phrase for phrase in plan.never if phrase not in known and phrase not in evidence.subjects]
    pool = unique([*harmful, *hopeful])[:_POOL]
    count = min(len(pool), 1 + k % 2)
    return replace(plan, forbid=tuple(forbid), forbid_count=count, forbid_pool=tuple(pool))


def _strong(values: Mapping[str, float], bar: float, size: int) -> list[str]:
    ranked = sorted((p for p in values if values[p] > 0), key=lambda p: -values[p])[:size]
    return [p for p in ranked if values[p] >= bar * values[ranked[0]]]


def _beside(best: Sequence[str], always: Sequence[str], size: int) -> list[str]:
    """Return what to add for a word so that, with the constant phrases behind it, cut to `size`, `best` results."""
    for extra in range(size + 1):
        group = [p for p in best if p not in always[: size - extra]]
        if len(group) <= extra:
            return group
    return list(best)


def best_number(ranked_values: Sequence[float], bend: Mapping[int, float]) -> int:
    """Return how many of the best phrases to use: the number with the highest expected reward."""
    numbers = [n for n in bend if 2 <= n <= min(_MOST_PHRASES, len(ranked_values))] or [min(3, len(ranked_values))]
    return max(numbers, key=lambda n: sum(ranked_values[:n]) + bend.get(n, 0.0))


def _helps_somewhere(phrase: str, evidence: Evidence) -> bool:
    return any(e.phrase == phrase and e.word and e.mean > 0 for e in evidence.effects)


def _promising(evidence: Evidence, exemplar_phrases: Sequence[str], used: Sequence[str]) -> list[str]:
    """Return phrases that may be better than the weakest one in use: mean plus one standard deviation, best first."""
    hopes = {e.phrase: e.mean + e.sd for e in _positive(evidence) if not e.word}
    for effect in _positive(evidence):
        if effect.word:
            hopes[effect.phrase] = max(hopes.get(effect.phrase, effect.mean), effect.mean)
    fresh = evidence.fresh[0] + evidence.fresh[1]
    for phrase in exemplar_phrases:
        hopes.setdefault(phrase, fresh)
    return unique(p for p in sorted(hopes, key=lambda p: -hopes[p]) if p not in used and hopes[p] > 0)

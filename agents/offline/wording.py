"""The offline gradient in plain English, written and read back: the Modifier learns from this text and nothing else."""

import re

from agents.offline.evidence import Effect, Evidence
from agents.offline.plan import quoted

_NUMBER = r"([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
_HEAD = re.compile(r"^These (\d+) results ")
_EFFECT = re.compile(rf'^ *- "([^"]+)": {_NUMBER} ± {_NUMBER} \((\d+) results?\)$')
_MENTION = re.compile(rf'^When the prompt mentions "([^"]+)" \({_NUMBER} % of the results\):$')
_GENERAL = re.compile(r"^In general( \(prompts that mention none of the words below\))?:$")
_FRESH = re.compile(rf"^A phrase that was not tried yet may be worth {_NUMBER} ± {_NUMBER}\.$")
_QUOTED = re.compile(r'"([^"]+)"')
_BEND = re.compile(rf"(\d+) phrases: {_NUMBER}")


def write_evidence(evidence: Evidence) -> str:
    """Write the evidence as a textual gradient."""
    helps = [effect.phrase for effect in evidence.effects if not effect.word and effect.mean > 2 * effect.sd][:5]
    hurts = [effect.phrase for effect in evidence.effects if not effect.word and effect.mean < -2 * effect.sd][-5:]
    lines = [
        f"These {evidence.results} results say which phrases change the reward and by how much; each number is what the"
        " phrase adds, other phrases being equal, give or take its uncertainty.",
        f"Clearly helpful: {quoted(helps) or 'none yet'}. Clearly harmful: {quoted(hurts[::-1]) or 'none yet'}.",
        "In general (prompts that mention none of the words below):" if evidence.share else "In general:",
    ]
    word = ""
    for effect in evidence.effects:
        if effect.word != word:
            word = effect.word
            lines.append(f'When the prompt mentions "{word}" ({100 * evidence.share[word]:.3g} % of the results):')
        number = f"{effect.results} {'result' if effect.results == 1 else 'results'}"
        lines.append(f'- "{effect.phrase}": {effect.mean:+.3g} ± {effect.sd:.2g} ({number})')
    if evidence.subjects:
        lines.append(f"Some users say this themselves, so never add it for others: {quoted(evidence.subjects)}.")
    lines.append(f"A phrase that was not tried yet may be worth {evidence.fresh[0]:+.3g} ± {evidence.fresh[1]:.2g}.")
    bends = ", ".join(f"{number} phrases: {change:+.3g}" for number, change in evidence.bend.items())
    lines.append(f"Beyond what the phrases add one by one, their number changes the reward by: {bends}.")
    return "\n".join(lines)


def read_evidence(text: str) -> Evidence | None:
    """Read what `write_evidence` wrote; None when the text holds no effects (another author's gradient)."""
    effects: list[Effect] = []
    share: dict[str, float] = {}
    bend: dict[int, float] = {}
    fresh, total, word, subjects = (0.0, 0.0), 0, "", ()
    for line in text.splitlines():
        if found := _HEAD.match(line):
            total = int(found.group(1))
        elif _GENERAL.match(line):
            word = ""
        elif found := _MENTION.match(line):
            word = found.group(1)
            share[word] = float(found.group(2)) / 100
        elif found := _EFFECT.match(line):
            effects.append(Effect(found[1], word, float(found[2]), float(found[3]), int(found[4])))
        elif found := _FRESH.match(line):
            fresh = (float(found[1]), float(found[2]))
        elif line.startswith("Some users say this themselves"):
            subjects = tuple(_QUOTED.findall(line))
        elif "their number changes the reward by" in line:
            bend = {int(number): float(change) for number, change in _BEND.findall(line)}
    return Evidence(tuple(effects), fresh, bend, total, share, subjects) if effects else None

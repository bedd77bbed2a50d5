"""Exports for people and for brushup itself: the instruction set with its evidence, plain text, a page to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.messages import PLACEHOLDERS
from agents.settings import settings_for
from experiments.export.learned import Phrase
from experiments.export.source import Source, as_json
from experiments.result import run_templates, told
from experiments.verdict import cost_line, scale_of, tested_on, verdict


def instruction_set(source: Source) -> str:
    """Return everything that is needed to use the instructions elsewhere; `optimize --instructions` reads it."""
    best = source.summary["best_instruction"]
    shown = source.found["instructions"] if source.top is None else list(source.chosen)
    learned = source.learned(best["id"])
    return as_json(
        {
            **source.found,
            "instructions": shown,
            "run": source.folder.name,
            "validation": {key: best[key] for key in ("mean", "ci95", "n")},
            "holdout": source.summary["holdout"],
            "learned": {
                "phrases": [phrase.to_json() for phrase in learned.phrases],
                "negatives": [phrase.to_json() for phrase in learned.negatives],
            },
            "settings": _settings(source),
            "config": source.summary["config"],
            "templates": _templates(source),
            "request": source.request(best["id"]),
        }
    )


def _settings(source: Source) -> dict[str, Any]:
    agents = source.config.agents
    settings = settings_for(agents.llm)
    return {
        "llm": agents.llm,
        "keep": agents.keep,
        "generator_exemplars": min(agents.generator_exemplars, settings.examples),
        "corpus": source.config.prompts.corpus,
        "temperature": settings.generator.temperature,
        "max_tokens": settings.generator.max_tokens,
        "max_prompt_chars": settings.max_prompt_chars,
        "negative": agents.negative,
    }


def _templates(source: Source) -> dict[str, str]:
    templates = run_templates(source.folder, source.config)
    return {role: getattr(templates, role) for role in PLACEHOLDERS}


def text(source: Source) -> str:
    """Return the instructions as an LLM is told them, with a blank line between two."""
    return "\n\n".join(told(arm) for arm in source.chosen) + "\n"


_ABOUT_SCORES = (
    "Pictures with a phrase are compared with other instructions' pictures without it, on the same prompt and seed. "
    "Their other phrases differ too."
)


def markdown(source: Source) -> str:
    """Return a page for people: verdict, instructions, evidence and learned phrases."""
    summary = source.summary
    sections = [
        f"# {_plain(source.folder.name)}",
        f"**{verdict(summary)}**".replace("\n", "**\n\n**"),
        f"Tested on {tested_on(summary['holdout'])}; {cost_line(summary['ledger'])}.",
        _table(("prompts written by", "mean score", "best minus this", "95 % interval"), _results(summary)),
    ]
    for arm in source.chosen:
        sections += [
            f"## Instruction {arm['id']}",
            _origin(source, arm),
            _fenced(told(arm)),
            *_learned(source, arm["id"]),
        ]
    sections += [
        _ABOUT_SCORES,
        f"Written with {_code(source.config.agents.llm)}. brushup run {_code(source.folder.name)}.",
    ]
    return "\n\n".join(sections) + "\n"


def _results(summary: Mapping[str, Any]) -> list[Sequence[str]]:
    holdout = summary["holdout"]
    scale = scale_of(holdout["scorer"])
    names = {"naive": "you (naive)", "initial": "initial instruction", "frequent": "most frequent phrases"}
    rows: list[Sequence[str]] = []
    for key, name in names.items():
        low, high = holdout[f"best_minus_{key}"]["ci95"]
        difference = f"{scale * holdout[f'best_minus_{key}']['mean']:+.2f}"
        rows.append(
            (name, f"{scale * holdout[key]['mean']:.2f}", difference, f"{scale * low:+.2f} to {scale * high:+.2f}")
        )
    return [*rows, ("best instruction", f"{scale * holdout['best']['mean']:.2f}", "", "")]


def _origin(source: Source, arm: Mapping[str, Any]) -> str:
    scale = scale_of(source.found["scorer"])
    mean = "no result" if arm["mean"] is None else f"mean reward {scale * arm['mean']:+.2f} on {arm['blocks']} blocks"
    parent = f", from {arm['parent']}" if arm["parent"] else ""
    return f"Round {arm['round']}{parent}; {arm['pulls']} pulls, {mean}."


def _learned(source: Source, arm: str) -> list[str]:
    found, scale = source.learned(arm), scale_of(source.found["scorer"])

    def row(phrase: Phrase) -> Sequence[str]:
        if phrase.effect is None:
            return _plain(phrase.text), f"{phrase.share:.0%}", "unknown", ""
        low, high = phrase.effect.ci95
        return (
            _plain(phrase.text),
            f"{phrase.share:.0%}",
            f"{scale * phrase.effect.mean:+.2f}",
            f"{scale * low:+.2f} to {scale * high:+.2f}",
        )

    parts = []
    for title, phrases in (("phrases it adds", found.phrases), ("negative phrases", found.negatives)):
        if phrases:
            heading = (f"{title} ({found.prompts} prompts)", "share", "pictures with it score", "95 % interval")
            parts.append(_table(heading, [row(phrase) for phrase in phrases]))
    return parts


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(untrusted: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no new cell."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]<>()#+-!|~&" else mark for mark in " ".join(untrusted.split()))


def _code(untrusted: str) -> str:
    return f"`{untrusted.replace('`', '')}`"


def _fenced(untrusted: str) -> str:
    """Return text in a fence that is longer than any in it."""
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in untrusted).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{untrusted}\n{fence}"

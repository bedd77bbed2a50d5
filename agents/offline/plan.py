"""What an instruction says in plain English, read and written: the only memory that the offline agents have."""

import re
from dataclasses import dataclass

from core.text import unique, words

PREAMBLE = (
    "Keep the user's prompt at the start, word for word. After it, add short phrases about style and quality,"
    " separated by commas."
)
_LIST = r"((?:[\"“][^\"”\n]+[\"”](?:\s*(?:,|and|or)\s*)*)+|[^\".;\n]+)"
_ALWAYS = re.compile(rf"(?<![\w,] )\balways (?:add|use):?\s+{_LIST}[.;]?", re.IGNORECASE)
_MENTION = re.compile(
    rf"\bif the prompt mentions [\"“]([^\"”\n]+)[\"”],?\s*(?:then )?(?:always )?(?:add|use):?\s+{_LIST}[.;]?",
    re.IGNORECASE,
)
_TRY = re.compile(
    rf"\balso try (\d+) of:?\s+{_LIST}(?:[,;]?\s*different ones for different prompts)?[.;]?", re.IGNORECASE
)
_FORBID = re.compile(rf"\bin the negative prompt,? (?:always )?put:?\s+{_LIST}[.;]?", re.IGNORECASE)
_FORBID_TRY = re.compile(
    rf"\bin the negative prompt,? also try (\d+) of:?\s+{_LIST}(?:[,;]?\s*different ones for different prompts)?[.;]?",
    re.IGNORECASE,
)
_NEVER = re.compile(rf"\b(?:never|do not) (?:use|add):?\s+{_LIST}[.;]?", re.IGNORECASE)
_AT_MOST = re.compile(r"\buse at most (\d+) phrases?[.;]?", re.IGNORECASE)
_BORROW = re.compile(r"\bborrow (?:up to )?(\d+) phrases? from the examples[.;]?", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“]([^\"”\n]+)[\"”]")


@dataclass(frozen=True)
class Plan:
    """An instruction's content.

    Attributes:
        always: phrases for every prompt, the most important first.
        mentions: (word, phrases) for prompts that mention the word.
        try_count: how many of `try_pool` to add, different ones for different prompts.
        try_pool: phrases to try.
        never: phrases to leave out.
        at_most: how many phrases are added at most; None when the text does not say.
        borrow: how many phrases to take from the examples.
        preamble: all that says none of the rest.
        forbid: phrases for every negative prompt.
        forbid_count: how many of `forbid_pool` to add to it, different ones for different prompts.
        forbid_pool: phrases to try there.
    """

    always: tuple[str, ...] = ()
    mentions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    try_count: int = 0
    try_pool: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    at_most: int | None = None
    borrow: int = 0
    preamble: str = PREAMBLE
    forbid: tuple[str, ...] = ()
    forbid_count: int = 0
    forbid_pool: tuple[str, ...] = ()


def read_plan(instruction: str) -> Plan:
    """Read an instruction. Order of the sentences does not matter; several of one kind add up."""
    rest = instruction
    forbid_tries = list(_FORBID_TRY.finditer(rest))
    rest = _FORBID_TRY.sub("", rest)
    forbid = [phrase for found in _FORBID.finditer(rest) for phrase in _phrases(found.group(1))]
    rest = _FORBID.sub("", rest)
    mentions = [(found.group(1).lower(), _phrases(found.group(2))) for found in _MENTION.finditer(rest)]
    rest = _MENTION.sub("", rest)
    tries = list(_TRY.finditer(rest))
    rest = _TRY.sub("", rest)
    never = [phrase for found in _NEVER.finditer(rest) for phrase in _phrases(found.group(1))]
    rest = _NEVER.sub("", rest)
    always = [phrase for found in _ALWAYS.finditer(rest) for phrase in _phrases(found.group(1))]
    rest = _ALWAYS.sub("", rest)
    limits = [int(found) for found in _AT_MOST.findall(rest)]
    borrows = [int(found) for found in _BORROW.findall(rest)]
    rest = _BORROW.sub("", _AT_MOST.sub("", rest))
    return Plan(
        always=tuple(unique(always)),
        mentions=tuple(mentions),
        try_count=sum(int(found.group(1)) for found in tries),
        try_pool=tuple(unique(phrase for found in tries for phrase in _phrases(found.group(2)))),
        never=tuple(unique(never)),
        forbid=tuple(unique(forbid)),
        forbid_count=sum(int(found.group(1)) for found in forbid_tries),
        forbid_pool=tuple(unique(phrase for found in forbid_tries for phrase in _phrases(found.group(2)))),
        at_most=min(limits) if limits else None,
        borrow=sum(borrows),
        preamble="\n".join(line for line in (" ".join(piece.split()) for piece in rest.splitlines()) if line),
    )


def write_plan(plan: Plan) -> str:
    """Write an instruction that `read_plan` reads back, and that any LLM or person can follow."""
    lines = [plan.preamble] if plan.preamble else []
    lines += [f'If the prompt mentions "{word}", add: {quoted(phrases)}.' for word, phrases in plan.mentions if phrases]
    if plan.always:
        lines.append(f"Always add: {quoted(plan.always)}.")
    if plan.try_count and plan.try_pool:
        lines.append(f"Also try {plan.try_count} of: {quoted(plan.try_pool)}, different ones for different prompts.")
    if plan.borrow:
        lines.append(f"Borrow {plan.borrow} {'phrase' if plan.borrow == 1 else 'phrases'} from the examples.")
    if plan.never:
        lines.append(f"Never use: {quoted(plan.never)}.")
    if plan.forbid:
        lines.append(f"In the negative prompt, put: {quoted(plan.forbid)}.")
    if plan.forbid_count and plan.forbid_pool:
        pool = quoted(plan.forbid_pool)
        lines.append(
            f"In the negative prompt, also try {plan.forbid_count} of: {pool}, different ones for different prompts."
        )
    if plan.at_most is not None:
        lines.append(f"Use at most {plan.at_most} {'phrase' if plan.at_most == 1 else 'phrases'}.")
    return "\n".join(lines)


def quoted(phrases: tuple[str, ...] | list[str]) -> str:
    """Return the phrases in double quotes, separated by commas."""
    return ", ".join('"' + phrase.replace('"', "") + '"' for phrase in phrases)


def mentions(prompt: str, word: str) -> bool:
    """Return whether the prompt contains the word, or the words of a longer term in a row."""
    return f" {' '.join(words(word))} " in f" {' '.join(words(prompt))} "


def _phrases(text: str) -> tuple[str, ...]:
    found = _QUOTED.findall(text) or re.split(r",|\band\b|\bor\b", text)
    return tuple(phrase for phrase in (piece.strip().lower() for piece in found) if phrase)

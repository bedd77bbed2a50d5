"""Rules that a reply must meet before it becomes a prompt or an instruction. Pure; words only, never any grammar."""

import re
from collections.abc import Iterable, Sequence

from core.errors import AgentFailure, BadInput
from core.text import content_words, ngrams, words

KEEP_RULES = {
    "verbatim": "The refined prompt must contain the user's prompt word for word.",
    "content-words": "The refined prompt must contain every meaningful word of the user's prompt, spelled the same.",
    "off": "Stay true to the user's prompt.",
}
"""What a refined prompt must keep of the naive one, and how the Generator is told."""

_KEEP = re.compile(r"<keep>(.*?)</keep>", re.DOTALL)
_KEEP_TAG = re.compile(r"</?keep>")


def check_keep_rule(rule: str) -> str:
    """Return the rule, or raise BadInput with the known ones."""
    if rule not in KEEP_RULES:
        raise BadInput(f"unknown keep rule {rule!r} (--keep): expected one of {', '.join(KEEP_RULES)}")
    return rule


def require_subject(naive_prompt: str, refined_prompt: str, rule: str) -> None:
    """Raise AgentFailure `lost-subject` if the refined prompt lacks what the rule says it must keep."""
    if rule == "off":
        return
    told = words(refined_prompt)
    if rule == "verbatim":
        if f" {' '.join(words(naive_prompt))} " not in f" {' '.join(told)} ":
            raise AgentFailure("lost-subject", "the user's prompt is not in the refined prompt word for word")
        return
    have, lowered = set(told), refined_prompt.lower()
    wanted = content_words(naive_prompt) or words(naive_prompt)
    lost = [word for word in wanted if word not in have and (word.isascii() or word not in lowered)]
    if lost:
        raise AgentFailure("lost-subject", f"words of the user's prompt are missing: {', '.join(dict.fromkeys(lost))}")


def require_wanted(naive_prompt: str, negative_prompt: str, rule: str) -> None:
    """Raise AgentFailure `lost-subject` if the negative prompt forbids what the user asked for."""
    forbidden = set(words(negative_prompt)) if rule != "off" else set()
    if lost := [word for word in content_words(naive_prompt) if word in forbidden]:
        raise AgentFailure("lost-subject", f"the negative prompt forbids words of the user's: {', '.join(lost)}")


def leaks(instruction: str, prompts: Iterable[str], n: int = 4) -> str:
    """Return what the instruction copies from one of the prompts, or "" if nothing.

    A copy is a run of `n` words with at least two meaningful ones, or a whole shorter prompt of at least two words.
    """
    own = words(instruction)
    grams, joined = ngrams(instruction, n), f" {' '.join(own)} "
    for prompt in prompts:
        tokens = words(prompt)
        if 2 <= len(tokens) < n:
            if f" {' '.join(tokens)} " in joined:
                return " ".join(tokens)
            continue
        for gram in ngrams(prompt, n) & grams:
            if len(content_words(" ".join(gram))) >= 2:
                return " ".join(gram)
    return ""


def kept_parts(instruction: str) -> list[str]:
    """Return the frozen parts of an instruction: the texts between `<keep>` and `</keep>`."""
    return _KEEP.findall(instruction)


def without_keep_tags(instruction: str) -> str:
    """Return the instruction as the Generator is told it: frozen parts stay, their tags go."""
    return _KEEP_TAG.sub("", instruction)


def check_instruction(text: str, parent: str, prompts: Sequence[str], *, max_chars: int, n: int) -> None:
    """Raise AgentFailure if `text` may not succeed `parent`: too long, a frozen part lost or changed, or a leak."""
    if not text.strip():
        raise AgentFailure("empty", "an instruction is empty")
    if len(text) > max_chars:
        raise AgentFailure("too-long", f"an instruction has {len(text)} characters, at most {max_chars} are allowed")
    if kept_parts(text) != kept_parts(parent) or len(_KEEP_TAG.findall(text)) != len(_KEEP_TAG.findall(parent)):
        raise AgentFailure(
            "malformed", "the parts between <keep> and </keep> must stay exactly as they are, tags included"
        )
    inherited = without_keep_tags(parent)
    copied = leaks(without_keep_tags(text), [prompt for prompt in prompts if not leaks(inherited, [prompt], n)], n)
    if copied:
        raise AgentFailure("leak", f"an instruction copies a training prompt: {copied!r}")

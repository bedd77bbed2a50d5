"""Scenes, captions and their way back: the only place that knows how a sentence and a scene belong together.

The text says what to draw (subject, colour, place, style family) and may carry terms. ``parse`` reads a caption back,
also one that an agent has rewritten, so that evaluation code can ask what a prompt means in this world. Nothing
outside evaluation may import this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from miniworld.vocabulary import (
    COLOURS,
    FAMILIES,
    FILLERS,
    PLACE_PHRASES,
    PLACES,
    STYLE_WORDS,
    SUBJECTS,
    TERMS,
)

Triple = tuple[str, str, str]
"""(subject, colour, place): the unit that the splits keep apart."""

SPLITS: tuple[str, ...] = ("train", "validation", "test")
_MODULUS = 8
_TEST_RESIDUE, _VALIDATION_RESIDUE = 0, 1

_TEMPLATES: tuple[str, ...] = (
    "{a} {colour} {subject} {place}, {style}",
    "{style_a} of {a} {colour} {subject} {place}",
    "{a} {colour} {subject} {place} in {style} style",
    "{style}: {a} {colour} {subject} {place}",
    "{colour} {subject} {place}, {style}",
    "{style} of one {colour} {subject} {place}",
)
_VOWELS = tuple("aeiou")
_TERM_PATTERNS = {
    term: re.compile(rf"(?<!\w){re.escape(term)}(?!\w)") for term in sorted((*TERMS, *FILLERS), key=len, reverse=True)
}
"""Longer terms first, so that no term is found inside another."""


@dataclass(frozen=True)
class Scene:
    """What a caption asks for.

    Attributes:
        subject: One of ``SUBJECTS``.
        colour: One of ``COLOURS``.
        place: One of ``PLACES``.
        family: One of ``FAMILIES``.
        terms: Quality terms and fillers in the order of the caption, without repetition.
    """

    subject: str
    colour: str
    place: str
    family: str
    terms: tuple[str, ...] = field(default=())

    @property
    def triple(self) -> Triple:
        """The (subject, colour, place) that decides the split."""
        return self.subject, self.colour, self.place

    def with_terms(self, terms: tuple[str, ...]) -> Scene:
        """The same content with other terms."""
        return Scene(self.subject, self.colour, self.place, self.family, tuple(dict.fromkeys(terms)))


@dataclass(frozen=True)
class NaivePrompt:
    """A plain prompt as a user would type it, with the scene it stands for.

    Attributes:
        prompt: The text; names the style by an ordinary word and carries no term.
        family: The style family, one of ``FAMILIES``.
        scene: The scene, without terms.
    """

    prompt: str
    family: str
    scene: Scene


def split_of(triple: Triple) -> str:
    """The split that a (subject, colour, place) belongs to.

    A linear rule modulo eight reserves 1/8 of the triples for test and 1/8 for validation, such that each pair of
    values (say, a red boat, or a boat at night) still occurs in train: test asks for new combinations, never for
    unknown words.
    """
    subject, colour, place = SUBJECTS.index(triple[0]), COLOURS.index(triple[1]), PLACES.index(triple[2])
    residue = (subject + 3 * colour + 5 * place) % _MODULUS
    return {_TEST_RESIDUE: "test", _VALIDATION_RESIDUE: "validation"}.get(residue, "train")


@cache
def triples(*splits: str) -> tuple[Triple, ...]:
    """All triples of the named splits, in a fixed order."""
    everything = [(s, c, p) for s in SUBJECTS for c in COLOURS for p in PLACES]
    return tuple(triple for triple in everything if split_of(triple) in splits)


def describe(scene: Scene, template: int = 0, place_phrase: int = 0) -> str:
    """Write the plain part of a caption, without terms.

    Args:
        scene: What to describe; its terms are ignored.
        template: Which sentence form, taken modulo their number.
        place_phrase: Which wording of the place, taken modulo their number.
    """
    phrases = PLACE_PHRASES[scene.place]
    style = STYLE_WORDS[scene.family]
    return _TEMPLATES[template % len(_TEMPLATES)].format(
        a=_article(scene.colour),
        colour=scene.colour,
        subject=scene.subject,
        place=phrases[place_phrase % len(phrases)],
        style=style,
        style_a=f"{_article(style)} {style}",
    )


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """A caption of the scene in a random wording, followed by its terms, separated by commas."""
    plain = describe(scene, int(rng.integers(len(_TEMPLATES))), int(rng.integers(2)))
    return ", ".join((plain, *scene.terms))


def parse(prompt: str) -> Scene | None:
    """Read a prompt back into a scene.

    Works on any text, so also on what an agent made of a caption: terms are found wherever they stand, the first
    subject, colour and place outside a term count, a style word may go on ("photograph"), unknown words are ignored.

    Returns:
        The scene, or None when subject, colour, place or style cannot be found.
    """
    text = re.sub(r"\s+", " ", prompt.lower())
    found: list[tuple[int, str]] = []
    for term, pattern in _TERM_PATTERNS.items():
        if term in text and (match := pattern.search(text)):
            found.append((match.start(), term))
            text = pattern.sub(lambda hit: " " * len(hit.group()), text)
    subject, colour, place = (_first_word(text, words) for words in (SUBJECTS, COLOURS, PLACES))
    style = _first_word(text, tuple(STYLE_WORDS.values()), ending=r"\w*")
    if subject is None or colour is None or place is None or style is None:
        return None
    family = next(name for name, word in STYLE_WORDS.items() if word == style)
    return Scene(subject, colour, place, family, tuple(term for _, term in sorted(found)))


def naive_prompts(split: str) -> list[NaivePrompt]:
    """Every distinct naive prompt of a split: triples x families x wordings, in a fixed order."""
    prompts: dict[str, NaivePrompt] = {}
    for triple in triples(split):
        for family in FAMILIES:
            scene = Scene(*triple, family)
            for template in range(len(_TEMPLATES)):
                for place_phrase in range(2):
                    text = describe(scene, template, place_phrase)
                    prompts.setdefault(text, NaivePrompt(text, family, scene))
    return list(prompts.values())


def draw_prompts(split: str, seed: int, n: int) -> list[NaivePrompt]:
    """Draw ``n`` distinct naive prompts of a split, families in turn, no (triple, family) twice before all have come.

    Args:
        split: "train", "validation" or "test".
        seed: Seed of the draw; the same seed always gives the same list.
        n: How many.

    Raises:
        ValueError: More prompts are asked for than the split has.
    """
    everything = naive_prompts(split)
    if n > len(everything):
        raise ValueError(f"got n={n}, expected at most {len(everything)} distinct {split} prompts: ask for fewer")
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    queues: dict[str, list[NaivePrompt]] = {family: [] for family in FAMILIES}
    seen: dict[Scene, int] = {}
    ranked = []
    for index in rng.permutation(len(everything)):
        item = everything[index]
        seen[item.scene] = seen.get(item.scene, -1) + 1
        ranked.append((seen[item.scene], item))
    for _, item in sorted(ranked, key=lambda pair: pair[0]):
        queues[item.family].append(item)
    order = [FAMILIES[i] for i in rng.permutation(len(FAMILIES))]
    return [queues[order[k % len(order)]][k // len(order)] for k in range(n)]


def holdout_prompts(seed: int, n: int) -> list[NaivePrompt]:
    """Draw ``n`` fresh prompts, balanced over families, from the triples that nothing was trained or tuned on."""
    return draw_prompts("test", seed, n)


def _article(word: str) -> str:
    return "an" if word.startswith(_VOWELS) else "a"


def _first_word(text: str, words: tuple[str, ...], *, ending: str = "") -> str | None:
    hits = [(match.start(), word) for word in words if (match := re.search(rf"\b{word}{ending}\b", text))]
    return min(hits)[1] if hits else None

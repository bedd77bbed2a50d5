"""Pairs of a plain and a professional prompt of one scene, as BeautifulPrompt (EMNLP 2023 Industry) learns from.

The high side is drawn like the corpus: popular words and harmful ones included, so a high prompt need not be better
than its low one; the reward decides that. The low side is made from the high one: half are summaries in the wordings
of naive prompts, a quarter are captions such as BLIP writes below a picture, a quarter are sloppy notes without
articles, commas or order. BeautifulPrompt has captions and summaries as well; its third source, a language model that
expands a low prompt, is left out.

Its filters before fine-tuning (EasyNLP, ``beautiful_prompt/data.py``): high prompts under 25 tokens are dropped, and
three in ten of those under 35. Here the same by terms: under 3 dropped, three in ten of those with 3. Its PickScore
threshold needs pictures and is left to whoever learns from the pairs.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core.errors import BadInput
from core.seeding import generator
from miniworld.grammar import Scene, describe, parse
from miniworld.vocabulary import PLACE_PHRASES, STYLE_WORDS

MOST = 200_000
"""Pairs at most; BeautifulPrompt has 143k."""
SHORTEST, THIN_SHARE = 3, 0.3
"""Terms that a high prompt needs, and the share of those with just so many that is dropped."""
_CAPTIONS = (
    "there is {a_colour} {subject} {place} in this {style}",
    "{a_style} showing {a_colour} {subject} {place}",
    "the picture shows {a_colour} {subject} {place}, it is {a_style}",
    "{a_colour} {subject} is {place}, {style}",
    "a {subject} that is {colour}, {place}, as {a_style}",
)
_SLOPPY = (
    "{colour} {subject} {bare} {style}",
    "{style} {colour} {subject} {bare}",
    "{style} of {colour} {subject} {bare}",
    "{subject} {colour} {bare} , {style}",
    "{colour} {subject},{bare},{style}",
    "{bare} {style} with {colour} {subject}",
)


@dataclass(frozen=True)
class Pair:
    """One line of the file.

    Attributes:
        low: A plain description, without terms.
        high: A professional prompt of the same scene.
        family: The style family of both.
    """

    low: str
    high: str
    family: str


def draw_pairs(count: int, seed: int) -> list[Pair]:
    """Draw pairs with distinct high prompts, of train triples only.

    Raises:
        BadInput: The count is not from 1 to ``MOST``, or the seed is negative.
    """
    if not 1 <= count <= MOST:
        raise BadInput(f"--count is {count}, expected a number from 1 to {MOST}")
    if seed < 0:
        raise BadInput(f"--seed is {seed}, expected at least 0; give a larger number")
    from miniworld.train.prompts import professional_prompt  # imports torch

    rng = generator("pairs", seed)
    pairs: dict[str, Pair] = {}
    while len(pairs) < count:
        high = professional_prompt(rng)
        scene = parse(high)
        if scene is not None and _is_rich(scene, rng):
            pairs.setdefault(high, Pair(low_prompt(scene, rng), high, scene.family))
    return list(pairs.values())


def low_prompt(scene: Scene, rng: np.random.Generator) -> str:
    """Describe a scene plainly in a random wording; its terms are left out."""
    kind = rng.random()
    wording, form, capital = int(rng.integers(60)), int(rng.integers(2)), rng.random() < 0.25
    if kind < 0.5:
        text = describe(scene, wording, form)
    else:
        forms = _CAPTIONS if kind < 0.75 else _SLOPPY
        place, style = PLACE_PHRASES[scene.place][form], STYLE_WORDS[scene.family]
        text = forms[wording % len(forms)].format(
            subject=scene.subject,
            colour=scene.colour,
            style=style,
            place=place,
            bare=scene.place,
            a_colour=_with_article(scene.colour),
            a_style=_with_article(style),
        )
    return text[0].upper() + text[1:] if capital else text


def write_pairs(path: Path, count: int, seed: int) -> int:
    """Write pairs as JSON lines; the same arguments always give the same bytes.

    Returns:
        How many there are.

    Raises:
        BadInput: Bad numbers, or a file that holds something else or cannot be written.
    """
    if path.suffix.lower() != ".jsonl":
        raise BadInput(f"--out {path} ends in {path.suffix!r}, expected .jsonl; rename it")
    pairs = draw_pairs(count, seed)
    content = "".join(f"{json.dumps(asdict(pair), ensure_ascii=False)}\n" for pair in pairs).encode()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.exists():
            if not path.is_file() or path.read_bytes() != content:
                raise BadInput(f"--out {path} holds something else, expected a new file; name another")
            return len(pairs)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(f"--out {path}: got {reason!r}, expected a writable place with free space") from error
    return len(pairs)


def _is_rich(scene: Scene, rng: np.random.Generator) -> bool:
    terms = len(scene.terms)
    return terms > SHORTEST or (terms == SHORTEST and rng.random() >= THIN_SHARE)


def _with_article(words: str) -> str:
    return f"{'an' if words.startswith(tuple('aeiou')) else 'a'} {words}"

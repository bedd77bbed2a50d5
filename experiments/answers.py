"""Answering prompts one after another, whoever answers: rows for people and programs, and files that resume."""

import asyncio
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import miniworld
from core.errors import BadInput
from core.interfaces import Refiner
from core.records import Refinement
from core.text import digest
from refiner import RELEASED
from refiner.constraints import CATEGORIES, Satisfaction, Wishes
from refiner.folder import MANIFEST_FILE

DEFAULT = "prip"
"""The shipped refiner that answers where none is named."""
ANSWERS = 3
"""Raised whenever the same weights answer otherwise: answers that were kept before are then asked for anew."""
BATCH = 64
"""Prompts answered together, and written together, by a trained refiner: what it takes at once."""
Row = dict[str, Any]


def _no_wishes(refinement: Refinement) -> Sequence[Satisfaction]:  # noqa: ARG001
    return ()


@dataclass(frozen=True)
class Source:
    """Who answers.

    Attributes:
        label: one line on who it is and what it learned from.
        identity: digest of all that its answers depend on.
        ask: from prompts to the refinements of each, best first; a failed prompt has one, with its error.
        satisfied: what became of the wishes for one refinement.
        facts: more columns of its rows.
        notes: what a user should know.
        batch: prompts answered and written together, where not `BATCH`.
    """

    label: str
    identity: str
    ask: Callable[[Sequence[str]], Sequence[Sequence[Refinement]]]
    satisfied: Callable[[Refinement], Sequence[Satisfaction]] = _no_wishes
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    batch: int = 0


def find_refiner(home: Path, name: str | None) -> str:
    """Return where a refiner is: a folder, one of `HOME/refiners`, a shipped one, a hub id, or released weights.

    `shipped/NAME` is the shipped one, also where the home has its own of that name.

    Args:
        home: folder of all runs.
        name: what the user named; None = the shipped default.
    """
    if name is None:
        return str(miniworld.REFINERS / DEFAULT)
    shipped = miniworld.REFINERS / name.removeprefix("shipped/")
    places = (Path(name).expanduser(), home / "refiners" / name, shipped)
    found = next((place for place in places if place.is_dir()), None)
    return str(found or name)


def _refuse_unknown(home: Path, place: str) -> None:
    """Raise BadInput for a word that names no refiner, with those that there are; the hub is not asked about it."""
    word = place.removeprefix("shipped/")
    if "/" in word or word.partition("=")[0] in RELEASED or Path(place).is_dir():
        return
    own, shipped = (
        ", ".join(sorted(file.parent.name for file in folder.glob(f"[!.]*/{MANIFEST_FILE}"))[:12]) or "none"
        for folder in (home / "refiners", miniworld.REFINERS)
    )
    raise BadInput(
        f"refiner {place!r}: got no refiner of that name, expected one of {home / 'refiners'} ({own}), a shipped one "
        f"({shipped}), authors' weights ({', '.join(RELEASED)}), a folder, or a hub id ORGANISATION/NAME"
    )


def wishes_of(style: Sequence[str], want: Sequence[str], must: Sequence[str], must_not: Sequence[str]) -> Wishes:
    """Return what the flags ask for; `auto` stands for any term of a category.

    Raises:
        BadInput: `--want` without a category or term, or an unknown category.
    """
    chosen: dict[str, tuple[str, ...]] = {}
    for told in [*(f"style={term}" for term in style), *want]:
        category, equals, term = (part.strip() for part in told.partition("="))
        if category not in CATEGORIES or not equals or not term:
            raise BadInput(
                f"--want is {told!r}; expected CATEGORY=TERM or CATEGORY=auto with one of {', '.join(CATEGORIES)}"
            )
        chosen[category] = (*chosen.get(category, ()), term)
    return Wishes(chosen, tuple(must), tuple(must_not))


@contextmanager
def trained_source(home: Path, name: str | None, wishes: Wishes, n: int, seed: int) -> Iterator[Source]:
    """Yield a trained refiner as a source of answers.

    Args:
        home: folder of all runs.
        name: see `find_refiner`.
        wishes: what answers are asked to hold; none leaves the refiner's own.
        n: refinements a prompt.
        seed: of what it draws at random.

    Raises:
        BadInput: no such refiner, or one that cannot honour the wishes or give several answers.
    """
    from refiner import load_refiner

    place = find_refiner(home, name)
    _refuse_unknown(home, place)
    refiner: Any = load_refiner(place)
    if wishes:
        if not hasattr(refiner, "wishing"):
            raise BadInput(
                f"refiner {place}: cannot honour --style, --want, --must or --must-not; leave them out, or name another"
            )
        refiner = refiner.wishing(wishes)
    manifest = getattr(refiner, "manifest", None)
    own = getattr(refiner, "categories", None)
    identity = digest([ANSWERS, place, asdict(manifest) if manifest else "", asdict(wishes), own, n, seed])
    reports = hasattr(refiner, "satisfaction")
    yield Source(
        manifest.label if manifest else f"released weights: {place}",
        identity,
        lambda prompts: _variants(refiner, prompts, n, seed),
        (lambda refinement: refiner.satisfaction(refinement, seed)) if reports else _no_wishes,
    )


def _variants(refiner: Refiner, prompts: Sequence[str], n: int, seed: int) -> Sequence[Sequence[Refinement]]:
    if n == 1:
        return [[found] for found in asyncio.run(refiner.refine(prompts, seed=seed))]
    if not hasattr(refiner, "variants"):
        raise BadInput(f"--n is {n}; this refiner gives one answer a prompt, leave --n out")
    return asyncio.run(refiner.variants(prompts, n, seed=seed))


def answers(source: Source, prompts: Sequence[str], first: int = 0) -> Iterator[list[Row]]:
    """Yield the rows of one batch of prompts after another, from prompt `first` on.

    A row has `place` (of the prompt), `variant` of `variants`, `naive`, `refined` (None with an `error`), `negative`,
    `refiner` (its label), `satisfaction` (label, terms, found, met of each wish), and the facts of the source.
    """
    size = source.batch or BATCH
    for start in range(first, len(prompts), size):
        chunk = prompts[start : start + size]
        found = source.ask(chunk)
        yield [
            row
            for place, refinements in enumerate(found, start)
            for row in (_row(source, place, k, len(refinements), one) for k, one in enumerate(refinements))
        ]


def _row(source: Source, place: int, variant: int, variants: int, one: Refinement) -> Row:
    return {
        "place": place,
        "variant": variant,
        "variants": variants,
        "naive": one.naive,
        "refined": one.text or None,
        "negative": one.negative,
        "refiner": source.label,
        **source.facts,
        "satisfaction": [] if one.error else [asdict(told) for told in source.satisfied(one)],
        "error": one.error,
        "request": source.identity,
    }


def answer_file(path: Path, source: Source, prompts: Sequence[str], tell: Callable[[int], None]) -> list[Row]:
    """Write all answers as JSON lines, in order; a file that was left unfinished is gone on with.

    Each batch is flushed to the disk before the next one is asked for. What a kill cut off is answered again, and the
    file ends with the same bytes.

    Args:
        path: the file.
        source: who answers.
        prompts: users' prompts.
        tell: told how many prompts are answered.

    Returns:
        All rows of the file.

    Raises:
        BadInput: the file holds something else, or cannot be written.
    """
    done, size = _answered(path, source, prompts)
    first = done[-1]["place"] + 1 if done else 0
    tell(first)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(size)
            for rows in answers(source, prompts, first):
                file.write("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode())
                file.flush()
                os.fsync(file.fileno())
                done += rows
                tell(done[-1]["place"] + 1)
    except OSError as error:
        raise BadInput(f"cannot write {path} (--output): {error.strerror or error}; choose another file") from None
    return done


def _answered(path: Path, source: Source, prompts: Sequence[str]) -> tuple[list[Row], int]:
    """Return the rows of whole answers in a file, and how many bytes they are."""
    if not path.exists():
        return [], 0
    try:
        *lines, tail = path.read_bytes().split(b"\n")
        rows = [json.loads(line) for line in lines]
        fits = all(
            row["request"] == source.identity and row["naive"] == prompts[row["place"]] and row["place"] >= 0
            for row in rows
        ) and _cut_off(tail, rows, source.identity)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        fits = False
    if not fits:
        raise BadInput(
            f"{path} (--output) holds something other than answers of this refiner to these prompts with these "
            "settings; name another file, or remove it"
        )
    while rows and rows[-1]["variant"] + 1 < rows[-1]["variants"]:
        rows.pop()
    return rows, sum(len(line) + 1 for line in itertools.islice(lines, len(rows)))


def _cut_off(tail: bytes, rows: Sequence[Row], identity: str) -> bool:
    """Whether what a file has behind its last line break can be the beginning of the row that comes next."""
    place, variant = (rows[-1]["place"], rows[-1]["variant"] + 1) if rows else (0, 0)
    if rows and variant == rows[-1]["variants"]:
        place, variant = place + 1, 0
    head = f'{{"place": {place}, "variant": {variant}, '.encode()
    request = tail.partition(b'"request": "')[2]
    return (tail.startswith(head) or head.startswith(tail)) and f'{identity}"}}'.encode().startswith(request)

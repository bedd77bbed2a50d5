"""`make parity`: our HPSv2 against the `hpsv2` package, score by score, on random weights of the same architecture.

    python benchmarks/parity.py                    # ViT-B-32's shape
    python benchmarks/parity.py --architecture ViT-H-14

Where the package by design does not do what ours does, the case says what it does instead (`apart`), that is checked
too, and ours is held to the package's score of what the case stands for. Leaves with 1 above the bound; the largest
difference is the last line. `hpsv2-package`, the scorer that runs the package itself, is held to the same scores.
"""

import argparse
import math
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from core.environment import set_switches

set_switches()

import numpy as np
from PIL import Image

from benchmarks import parity_environment
from core.interfaces import Scorer
from core.records import ScoreItem

BOUND = 1e-6
PACKAGE_CASES = 20
"""Cases on which `hpsv2-package` has to equal `hpsv2.score`; both run the same code, only loading differs."""
TEXTS = 3000
"""Random odd texts whose tokens are compared."""
REFERENCE = Path(__file__).with_name("hpsv2_reference.py")
Theirs = Callable[[Sequence[Image.Image], str], Sequence[float]]
"""The package's scores of pictures for one prompt, as `hpsv2.score` takes them; raises `Refused` where it fails."""


class Refused(Exception):
    """The package raised an error."""


@dataclass(frozen=True)
class Case:
    """One comparison. `stands_for` is what the package gets where it treats the original `apart` from ours."""

    label: str
    picture: Image.Image
    prompt: str
    apart: Literal["", "refuses", "differs"] = ""
    stands_for: tuple[Image.Image, str] | None = None


@dataclass(frozen=True)
class Row:
    """A case's outcome; `fault` says what was not as expected."""

    label: str
    ours: float
    theirs: float
    fault: str = ""

    @property
    def difference(self) -> float:
        """Return how far apart the scores are; infinitely, where one is missing."""
        apart = abs(self.ours - self.theirs)
        return math.inf if math.isnan(apart) else apart


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Return a picture with coarse shapes and fine grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))


PICTURES = {
    "square": picture(512, 512, 0),
    "square 224": picture(224, 224, 1),
    "square small": picture(64, 64, 2),
    "landscape": picture(640, 360, 3),
    "portrait": picture(300, 701, 4),
    "wide": picture(1024, 111, 5),
    "tiny": picture(7, 5, 6),
    "one pixel": picture(1, 1, 7),
    "grey": picture(200, 160, 8).convert("L"),
    "palette": picture(160, 200, 9).convert("P"),
}
PROMPTS = {
    "plain": "a red fox in the snow, oil painting",
    "curly quotes": "“a fox” that’s ‘red’ — very… red",
    "entities": "salt &amp; pepper, 1 &lt; 2, caf&eacute;, twice &amp;amp; escaped",
    "brackets": "a <b>bold</b> fox & <|unknown|> [[x]] ((y:1.3))",
    "mojibake": "schÃ¶n ﬁsh ﬀ â€œquotedâ€",
    "accents": "Häuschen, naïve façade, e\u0301 u\u0308, İstanbul, ΣΑΣ",
    "chinese": "一只红色的狐狸，水墨画，雪地",
    "japanese and arabic": "雪の中の赤い狐 ثعلب أحمر",
    "emoji": "a 🦊 in the ❄️, family 👨‍👩‍👧‍👦, flag 🇫🇷",
    "contractions": "it's the fox's den, we'll've seen they're 'S 'LL",
    "digits": "1234567890 3.14 ½ ² x1000000",
    "white space": "  a\tfox\n\n in\u00a0the\u2003snow \u200b ",
    "punctuation": "!!! ???... ---- ~~~ @@@ ;;; \\\\ //",
    "long": "a very detailed red fox in the deep snow, " * 30,
    "empty": "",
    "blank": " \t\n ",
}
SPECIAL = {
    "start_of_text": ("a <start_of_text> fox", "a fox"),
    "end_of_text": ("a fox <end_of_text> in the snow", "a fox in the snow"),
    "endoftext": ("a fox <|endoftext|> in the snow", "a fox in the snow"),
    "startoftext": ("<|startoftext|>a fox", "a fox"),
    "escaped": ("a fox &lt;end_of_text&gt; in the snow", "a fox in the snow"),
}
"""Prompts with literal special tokens, and what ours takes them for: a prompt is text, and no part of it is a command.

The package takes `<end_of_text>` for the end and spells `<|endoftext|>` letter by letter.
"""


def cases() -> Iterator[Case]:
    """Yield every comparison."""
    plain = PROMPTS["plain"]
    yield from (Case(f"picture: {label}", image, plain) for label, image in PICTURES.items())
    for label, prompt in PROMPTS.items():
        for kind in ("square", "landscape"):
            yield Case(f"prompt: {label}, {kind}", PICTURES[kind], prompt)
    square = PICTURES["square"]
    for label, (prompt, meant) in SPECIAL.items():
        yield Case(f"special token: {label}", square, prompt, "differs", (square, meant))
    clear = picture(300, 200, 10).convert("RGBA")
    yield Case("transparent", clear, plain, "refuses", (clear.convert("RGB"), plain))
    for label, size in (("224 wide", (224, 100)), ("224 high", (131, 224))):
        image = picture(*size, 11)
        square = Image.new("RGB", (224, 224))
        square.paste(image, ((224 - size[0]) // 2, (224 - size[1]) // 2))
        yield Case(f"longest side {label}", image, plain, "refuses", (square, plain))


def compare(ours: Scorer, theirs: Theirs, wanted: Sequence[Case]) -> list[Row]:
    """Return the outcome of every case."""
    references = by_prompt(theirs, [case.stands_for or (case.picture, case.prompt) for case in wanted])
    rows = []
    for start in range(0, len(wanted), ours.chunk):
        chunk = wanted[start : start + ours.chunk]
        scores = ours.score([ScoreItem(case.picture, case.prompt) for case in chunk])
        values = [float("nan") if score.value is None else score.value for score in scores]
        rows += [
            Row(case.label, value, reference, fault(case, reference, theirs))
            for case, value, reference in zip(chunk, values, references[start:], strict=False)
        ]
    return rows


def by_prompt(theirs: Theirs, pairs: Sequence[tuple[Image.Image, str]]) -> list[float]:
    """Return the package's scores of pairs, asked once a prompt: each call reads the whole checkpoint."""
    places: dict[str, list[int]] = {}
    for place, (_, prompt) in enumerate(pairs):
        places.setdefault(prompt, []).append(place)
    found = [float("nan")] * len(pairs)
    for prompt, ours in places.items():
        for place, value in zip(ours, theirs([pairs[place][0] for place in ours], prompt), strict=True):
            found[place] = value
    return found


def fault(case: Case, reference: float, theirs: Theirs) -> str:
    """Return what is wrong if the package does not treat a case apart as the case says, else ""."""
    if not case.apart:
        return ""
    try:
        original: float | None = theirs([case.picture], case.prompt)[0]
    except Refused:
        original = None
    expected = original is None if case.apart == "refuses" else original not in (None, reference)
    return "" if expected else f"the package was said to be apart ({case.apart}), and is not"


def report(rows: Sequence[Row], faults: Sequence[str], bound: float = BOUND) -> int:
    """Print rows and faults, the largest difference last; return the exit code."""
    for row in rows:
        print(f"{row.label:<38} ours {row.ours:+.8f}  hpsv2 {row.theirs:+.8f}  |d| {row.difference:.1e}  {row.fault}")
    faults = [*faults, *(f"{row.label}: {row.fault}" for row in rows if row.fault)]
    for fault in faults:
        print(f"fault: {fault}")
    values = [row.theirs for row in rows]
    largest = max(row.difference for row in rows)
    print(f"{len(rows)} scores between {min(values):+.4f} and {max(values):+.4f}, deviation {np.std(values):.4f}")
    print(f"largest difference {largest:.2e}, bound {bound:.0e}")
    return 0 if largest <= bound and not faults else 1


ODD = (
    "fox Fox's don't WE'LL “curly” ‘single’ &amp; &amp;amp; &lt;b&gt; &#39; &#233; e&#769; &eacute; &nbsp; <b> </b> < "
    "> & ; 一只 狐狸 "
    "雪の中 ثعلب שועל лиса 🦊 ❄️ 👨‍👩‍👧 🇫🇷 é é ü ﬁ ﬀ ½ ² ① ⅷ 12 1,000 3.14 "
    ":1.3) ((( ]]] ... … — – -- ~ \\ / @x #y $ % ^ * | "
    "schÃ¶n â€œ İ ß ẞ ΣΑΣ ς ǅ ѐ ａｂｃ １２ \u200b \u200d \ufeff \u00ad \u00a0 \u2003 \u3000 \t \n"
).split(" ")


def odd_texts(count: int, seed: int = 0) -> list[str]:
    """Return random joins of odd pieces, with and without spaces.

    One known difference is left out: a long s after an apostrophe, which the package's pattern takes for `'s`.
    """
    rng = random.Random(seed)  # noqa: S311  (no secret)
    return [rng.choice(("", " ", " ", ", ")).join(rng.choices(ODD, k=rng.randint(1, 12))) for _ in range(count)]


def main() -> int:
    """Compare, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-B-32", choices=("ViT-B-32", "ViT-H-14"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    python = parity_environment.ensure()
    with tempfile.TemporaryDirectory() as folder:
        return _run(python, Path(folder), options.architecture, options.threads)


def _run(python: Path, folder: Path, architecture: str, threads: int) -> int:
    from benchmarks import random_hpsv2
    from scoring import load_scorer
    from scoring.child import Child
    from scoring.hpsv2 import cleaned_text_tokenizer
    from scoring.preprocess import clean_prompt

    random_hpsv2.save(folder, architecture, parity_environment.vocabulary())
    reference = Child([python, REFERENCE, architecture, folder / "weights.pt", str(threads)])

    def theirs(images: Sequence[Image.Image], prompt: str) -> Sequence[float]:
        files = [folder / f"{place}.png" for place in range(len(images))]
        for image, file in zip(images, files, strict=True):
            image.save(file)
        reply = reference.ask({"score": [str(file) for file in files], "prompt": prompt})
        if "error" in reply:
            raise Refused(reply["error"])
        return list(reply["values"])

    wanted = list(cases())
    rows = compare(load_scorer(str(folder), device="cpu", chunk=4, threads=threads), theirs, wanted)
    os.environ["BRUSHUP_HPSV2_PYTHON"] = str(python)
    package = load_scorer(f"hpsv2-package={folder}", device="cpu", chunk=4, threads=threads)
    alike = [(case, row) for case, row in zip(wanted, rows, strict=True) if not case.apart][:PACKAGE_CASES]
    others = [package.score([ScoreItem(case.picture, case.prompt)])[0].value for case, _ in alike]
    apart = [row.label for (_, row), value in zip(alike, others, strict=True) if value != row.theirs]
    print(f"hpsv2-package: {len(alike) - len(apart)} of {len(alike)} scores equal hpsv2.score's")
    faults = [f"{label}: hpsv2-package is not hpsv2.score" for label in apart]

    tokenizer, texts = cleaned_text_tokenizer("parity", 49408, folder), odd_texts(TEXTS)
    tokens = reference.ask({"tokens": texts})["tokens"]
    ours = [tokenizer(clean_prompt(text), max_length=77, truncation=True).input_ids for text in texts]
    differing = [text for text, one, other in zip(texts, ours, tokens, strict=True) if one != other]
    print(f"{len(texts)} odd texts, {len(differing)} with other tokens")
    faults += [f"other tokens for {text!a}" for text in differing[:10]]
    return report(rows, faults)


if __name__ == "__main__":
    sys.exit(main())

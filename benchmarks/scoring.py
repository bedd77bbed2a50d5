"""What our HPSv2 costs: over the bare model, and beside the `hpsv2` package as its users call it. Random weights.

    python benchmarks/scoring.py --json
        {"ours_over_forward", "hpsv2_over_ours", "max_abs_diff", "device", "architecture"}
    python benchmarks/scoring.py --json --architecture ViT-H-14 --device cuda

One unit of work is a chunk of pictures (512 x 512, in memory) with new prompts, four pictures a prompt:

- ours: `scorer.score`, with letterbox, tokens, each prompt encoded once;
- forward: both towers of the same model on tensors that are ready, the text tower on each prompt once, padded to the
  context of 77 tokens as transformers and hpsv2 do (ours leaves the padding out: no token sees what comes after it);
- hpsv2: `hpsv2.score(picture, prompt)` for each picture, from a file; `hpsv2_list_over_ours` gives it four a call.

Each repetition runs all of them, one after the other; the figures are medians of the repetitions' ratios. On the CPU
seconds are processor seconds of one thread, so that other load on the machine does not count; on a GPU wall seconds.
The package cannot choose its device: on a machine with CUDA it takes that, whatever `--device` says.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose scoring.py is not the package

from core.environment import set_switches

set_switches()

from benchmarks import parity_environment
from benchmarks.parity import REFERENCE, picture
from core.interfaces import Scorer
from core.records import ScoreItem

PICTURES_A_PROMPT = 4
Clock = Callable[[], float]


@dataclass(frozen=True)
class Seconds:
    """What one repetition took, and how far the scores were apart."""

    ours: float
    forward: float
    each: float
    lists: float
    difference: float


def prompts(repetition: int, count: int) -> list[str]:
    """Return prompts that no other repetition has."""
    things = ("fox in the snow", "castle on a hill", "boat at sea", "city street at night")
    return [f"a {things[k % 4]}, number {repetition} of {k}, highly detailed, oil on canvas" for k in range(count)]


def summary(found: Sequence[Seconds], device: str, architecture: str) -> dict[str, object]:
    """Return the figures of all repetitions."""

    def median(ratio: Callable[[Seconds], float]) -> float:
        return round(statistics.median(ratio(one) for one in found), 4)

    return {
        "ours_over_forward": median(lambda one: one.ours / one.forward),
        "hpsv2_over_ours": median(lambda one: one.each / one.ours),
        "hpsv2_list_over_ours": median(lambda one: one.lists / one.ours),
        "max_abs_diff": max(one.difference for one in found),
        "device": device,
        "architecture": architecture,
    }


def clock(device: str) -> Clock:
    """Return the clock for a device."""
    import torch

    if device == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


class Bare:
    """Both towers of a scorer's own model, on tensors that are ready."""

    def __init__(self, scorer: Scorer, folder: Path) -> None:
        from scoring.hpsv2 import cleaned_text_tokenizer

        self._model: Any = scorer._model  # type: ignore[attr-defined]
        self._tokenizer: Any = cleaned_text_tokenizer("bare", 49408, folder)

    def ready(self, items: Sequence[ScoreItem]) -> tuple[Any, Any]:
        """Return the pixels of items, and the tokens of their distinct prompts, on the model's device."""
        import torch

        from scoring.preprocess import clean_prompt, letterbox

        texts = [clean_prompt(text) for text in dict.fromkeys(item.prompt for item in items)]
        ids = self._tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        pixels = torch.stack([letterbox(item.image, 224) for item in items])
        return pixels.to(self._model.device), ids.input_ids.to(self._model.device)

    def forward(self, pixels: Any, ids: Any) -> None:
        """Run both towers and their projections."""
        import torch

        with torch.inference_mode():
            self._model.get_image_features(pixel_values=pixels)
            self._model.get_text_features(input_ids=ids)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-B-32", choices=("ViT-B-32", "ViT-H-14"))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--pictures", type=int, default=16, help="a chunk, a multiple of four")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(Path(folder), options)
    result = summary(found, options.device, options.architecture)
    print(json.dumps(result) if options.json else "\n".join(f"{key}: {value}" for key, value in result.items()))


def _measure(folder: Path, options: argparse.Namespace) -> list[Seconds]:
    from benchmarks import random_hpsv2
    from scoring import load_scorer
    from scoring.child import Child

    python = parity_environment.ensure()
    random_hpsv2.save(folder, options.architecture, parity_environment.vocabulary())
    scorer = load_scorer(f"hpsv2={folder}", device=options.device, chunk=options.pictures, threads=1)
    reference = Child([python, REFERENCE, options.architecture, folder / "weights.pt", "1"])
    images = [picture(512, 512, seed) for seed in range(options.pictures)]
    files = [str(folder / f"{k}.png") for k in range(options.pictures)]
    for image, file in zip(images, files, strict=True):
        image.save(file)
    bare, now = Bare(scorer, folder), clock(options.device)
    found = []
    for repetition in range(options.repetitions + 1):
        texts = [text for text in prompts(repetition, options.pictures // 4) for _ in range(PICTURES_A_PROMPT)]
        items = [ScoreItem(image, text) for image, text in zip(images, texts, strict=True)]
        pixels, ids = bare.ready(items)
        start = now()
        scores = scorer.score(items)
        ours = now() - start
        start = now()
        bare.forward(pixels, ids)
        forward = now() - start
        each = [reference.ask({"score": [file], "prompt": text}) for file, text in zip(files, texts, strict=True)]
        lists = [
            reference.ask({"score": files[k : k + PICTURES_A_PROMPT], "prompt": texts[k]})
            for k in range(0, len(files), PICTURES_A_PROMPT)
        ]
        theirs = [reply["values"][0] for reply in each]
        apart = max(abs((one.value or 0.0) - other) for one, other in zip(scores, theirs, strict=True))
        took_each, took_lists = (sum(reply["seconds"] for reply in replies) for replies in (each, lists))
        found.append(Seconds(ours, forward, took_each, took_lists, apart))
    return found[1:]  # the first one warms up


if __name__ == "__main__":
    main()

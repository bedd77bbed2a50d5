"""Mean and deviation of scorers over pictures of naive prompts: what `weights:` standardises by.

    python benchmarks/reference_scores.py --write                 # the miniworld's scorers, into their folders
    python benchmarks/reference_scores.py hpsv2.1 aesthetic --renderer ORG/NAME@COMMIT --prompts my.txt

`--write` puts `reference.json` into the folder of each scorer that has one; else the numbers go into a
`weights:FILE.json`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # before this folder, whose scoring.py is not the package

from core.environment import set_switches

set_switches()

import miniworld
from core.interfaces import Renderer, Scorer
from core.records import RenderRequest, ScoreItem


def naive_prompts(file: Path | None, count: int) -> list[str]:
    """Return the first prompts of a text file, one a line; without one those of the miniworld's validation."""
    if file is not None:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()][:count]
    lines = (miniworld.PROMPTS / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prompt"] for line in lines][:count]


def draw(renderer: Renderer, prompts: Sequence[str], seeds: int) -> Iterator[ScoreItem]:
    """Yield `seeds` pictures of each prompt, with the prompt."""
    requests = [RenderRequest(prompt, seed) for prompt in prompts for seed in range(seeds)]
    for start in range(0, len(requests), renderer.chunk):
        chunk = requests[start : start + renderer.chunk]
        for request, result in zip(chunk, renderer.render(chunk), strict=True):
            if result.image is not None:
                yield ScoreItem(result.image, request.prompt)


def reference(scorer: Scorer, items: Sequence[ScoreItem]) -> dict[str, float]:
    """Return mean and sample deviation of a scorer over items, to four digits."""
    scores = [score for k in range(0, len(items), scorer.chunk) for score in scorer.score(items[k : k + scorer.chunk])]
    values = [score.value for score in scores if score.value is not None]
    return {"mean": float(f"{statistics.mean(values):.4g}"), "sd": float(f"{statistics.stdev(values):.4g}")}


def main() -> None:
    """Draw, score, print, and write where asked to."""
    from rendering import RenderSettings, load_renderer
    from scoring import load_scorer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scorers", nargs="*", default=[f"hpsv2={miniworld.SCORER}", *miniworld.OTHER_SCORERS])
    parser.add_argument("--renderer", default=str(miniworld.PIPELINE))
    parser.add_argument("--prompts", type=Path, help="a text file, one prompt a line")
    parser.add_argument("--count", type=int, default=120, help="prompts")
    parser.add_argument("--seeds", type=int, default=2, help="pictures a prompt")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    prompts = naive_prompts(options.prompts, options.count)
    items = list(draw(load_renderer(options.renderer, RenderSettings()), prompts, options.seeds))
    print(f"{len(items)} pictures of {len(prompts)} prompts")
    for spec in options.scorers:
        name, _, source = spec.partition("=")
        found = reference(load_scorer(spec, chunk=32), items)
        print(f"{name:<12} mean {found['mean']:<10} sd {found['sd']}")
        if options.write and Path(source).is_dir():
            (Path(source) / "reference.json").write_text(json.dumps({name: found}) + "\n")


if __name__ == "__main__":
    main()

"""`make peers`: pictures that gepa, promptolution and our loop need until their recommendation is good enough.

    make peers                                         # makes .venv-peers/ first
    .venv-peers/bin/python benchmarks/peers.py --json
    .venv-peers/bin/python benchmarks/peers.py --tune  # the grids behind the tuned METHODS, on worlds 0-99

Every method meets the same simulated worlds (`peers_world.py`): the same children of a parent, the same scores of a
picture, one counter of pictures at the oracle. It stops when the *true* worth of its own recommendation reaches TARGET.
Settings were tuned on worlds 0-99, figures are of worlds 100-199. Simulated: no evidence about any image model.
The miniworld's figures are read from a file that `peers_miniworld.py` wrote.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

import numpy as np

from benchmarks.peers_ours import Ours
from benchmarks.peers_selection import brute_force, crossing, ours, pool, regret
from benchmarks.peers_tables import DRAWS, show, summary
from benchmarks.peers_theirs import Gepa, Promptolution, race
from benchmarks.peers_world import World

TARGET = 0.6
"""Worth to reach, in standard deviations of one score: two lucky children above the initial instruction."""
LIMIT = 3000
"""Pictures after which a method is censored: its figure is then a lower bound."""
REGRET = 0.06
MINIWORLD = Path(__file__).parent / "results" / "peers-miniworld.json"
"""What `peers_miniworld.py` found; it holds the command."""
ALONE = ("uniform", "ucb1", "thompson", "t3c", "lucb")
"""Our policies that are held against the peers' selection; `brushup simulate` has all of them."""
BUDGETS = (20, 24, 29, 35, 42, 50, 60, 72, 86, 104, 124, 149, 179, 215, 258, 309)
EXAMPLES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 32, 40)
RACES = tuple(itertools.product((2, 4, 8), (5, 10), (0.2, 0.4)))
"""CAPO's races: examples a block, most blocks, alpha."""

Method = Callable[[World, float, int], int | None]

OURS = Ours("ucb1", batch=1, children=3, pulls=4, recommend="posterior", parent="best", c=0.3)
UNIFORM = Ours("uniform", batch=1, children=1, pulls=4, recommend="posterior", parent="best")
METHODS: dict[str, Method] = {
    "ours": OURS,
    "ours, parents known": replace(OURS, recommend="lineage"),
    "ours, parents known, no naive pictures": replace(OURS, recommend="lineage", naive=False),
    "ours, a run's defaults": Ours(),
    "ours, 8 blocks a pull": Ours(batch=8, c=1.0),
    "ours, no naive pictures": replace(OURS, naive=False),
    "ours, t3c": replace(OURS, policy="t3c"),
    "uniform": UNIFORM,
    "uniform, not paired": replace(UNIFORM, paired=False, naive=False),
    "uniform, not paired, 8 blocks a pull": Ours("uniform", batch=8, paired=False, naive=False),
    "gepa": Gepa(),
    "gepa, tuned": Gepa(60, 3, 5, "current_best"),
    "EvoPromptGA": Promptolution("ga"),
    "EvoPromptGA, tuned": Promptolution("ga", 5, population=6, options=(("selection_mode", "tour"),)),
    "OPRO": Promptolution("opro", population=1),
    "OPRO, tuned": Promptolution("opro", 5, population=1, options=(("num_instructions_per_step", 1),)),
    "CAPO": Promptolution("capo"),
    "CAPO, tuned": Promptolution("capo", 30, 3, population=2, options=(("crossovers_per_iter", 2),)),
}
"""Defaults, and the best of each grid on the tuning worlds."""
GRIDS: dict[str, list[Method]] = {
    "ours": [
        Ours(policy, 1, children, pulls, recommend="posterior", parent="best", c=c)
        for (policy, c), (children, pulls) in itertools.product(
            (("t3c", 1.0), ("top-two", 1.0), ("ucb1", 1.0), ("ucb1", 0.3)), ((1, 2), (2, 3), (3, 4), (4, 6))
        )
    ],
    "uniform": [
        Ours("uniform", 1, children, pulls, recommend="posterior", parent="best", paired=paired, naive=paired)
        for paired, (children, pulls) in itertools.product((True, False), ((1, 4), (1, 8), (2, 16)))
    ],
    "gepa": [
        Gepa(60, minibatch, validation, selection)
        for minibatch, validation, selection in itertools.product((2, 3, 6), (5, 10, 20), ("pareto", "current_best"))
    ],
    "OPRO": [
        Promptolution("opro", examples, population=1, options=(("num_instructions_per_step", count),))
        for examples, count in itertools.product((5, 10, 15, 20), (1, 8))
    ],
    "EvoPromptGA": [
        Promptolution("ga", examples, population=population, options=(("selection_mode", mode),))
        for examples, population, mode in itertools.product((5, 10, 20), (3, 4, 6), ("wheel", "tour"))
    ],
    "CAPO": [
        Promptolution(
            "capo", 10 * size, size, population=population, options=(("crossovers_per_iter", 2), ("alpha", a))
        )
        for size, population, a in itertools.product((3, 6), (2, 4), (0.2, 0.4))
    ],
}


def main() -> None:
    """Print the tables, or with --json the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout")
    parser.add_argument("--tune", nargs="*", choices=GRIDS, help="try these grids, or all, on the tuning worlds")
    parser.add_argument(
        "--rho", type=float, default=0.5, help="share of the variance that the block gives (default 0.5)"
    )
    parser.add_argument("--worlds", type=int, default=60, help="worlds, 10 to 100 (default 60)")
    options = parser.parse_args()
    if not 10 <= options.worlds <= 100 or not 0 <= options.rho < 1:
        parser.error("--worlds must be 10 to 100 and --rho from 0 to below 1")
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        if options.tune is not None:
            _tune(workers, options.rho, options.worlds, options.tune or list(GRIDS))
            return
        worlds = range(100, 100 + options.worlds)
        result = {
            "worlds": options.worlds,
            "rho": options.rho,
            "simulated": _whole_loop(workers, options.rho, worlds),
            "selection_only": _selection(workers, options.rho, worlds),
            "miniworld": json.loads(MINIWORLD.read_text(encoding="utf-8"))["miniworld"],
        }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _show(result)


def _whole_loop(workers: ProcessPoolExecutor, rho: float, worlds: Sequence[int]) -> dict[str, Any]:
    pictures = {}
    for name, method in METHODS.items():
        pictures[name] = _pictures(workers, method, rho, worlds)
        print(f"{name}: {np.nanmedian(pictures[name]):.0f}", file=sys.stderr, flush=True)
    return {name: summary(found, pictures["ours"], LIMIT) for name, found in pictures.items()}


def _pictures(workers: ProcessPoolExecutor, method: Method, rho: float, worlds: Iterable[int]) -> np.ndarray:
    """Return the pictures in every world; NaN where the method was stopped at LIMIT."""
    found = workers.map(partial(_one, method, rho), worlds, chunksize=4)
    return np.array([np.nan if count is None else count for count in found], dtype=float)


def _one(method: Method, rho: float, number: int) -> int | None:
    return method(World(number, rho), TARGET, LIMIT)


def _selection(workers: ProcessPoolExecutor, rho: float, worlds: Sequence[int]) -> dict[str, Any]:
    """Return pictures to a mean regret of REGRET with sixteen given instructions, beside the best of our policies."""
    jobs: dict[str, Callable[[int], list[tuple[int, float]]]] = {
        f"ours: {name}": partial(_ours_alone, name, rho) for name in ALONE
    }
    jobs["gepa, OPRO, EvoPrompt: all on common examples"] = partial(_brute_force, rho)
    jobs["CAPO's racing, best of its grid"] = partial(_races, rho)
    even = np.full((1, len(worlds)), 1 / len(worlds))
    drawn = np.random.default_rng(0).multinomial(len(worlds), even[0], size=DRAWS)
    weights = np.concatenate([even, drawn / len(worlds)])
    found = {name: crossing(list(workers.map(job, worlds)), REGRET, weights) for name, job in jobs.items()}
    reference = min((row for name, row in found.items() if name.startswith("ours")), key=lambda row: row[0])
    result = {}
    for name, row in found.items():
        ratio = row / reference
        known = bool(np.isfinite(row[0]))
        result[name] = {
            "renders_to_target": float(row[0]) if known else None,
            "over_ours": float(ratio[0]) if known else None,
            "ci95": np.percentile(ratio[np.isfinite(ratio)], [2.5, 97.5]).tolist() if known else None,
            "censored": not known,
        }
    return result


def _ours_alone(policy: str, rho: float, number: int) -> list[tuple[int, float]]:
    return ours(policy, World(number, rho), BUDGETS)


def _brute_force(rho: float, number: int) -> list[tuple[int, float]]:
    return brute_force(World(number, rho), EXAMPLES)


def _races(rho: float, number: int) -> list[tuple[int, float]]:
    points = []
    for subsample, blocks, alpha in RACES:
        world = World(number, rho)
        arms = pool(World(number, rho))
        chosen = race(world, arms, subsample, blocks, alpha)
        points.append((world.renders, regret(world, arms, chosen)))
    return points


def _tune(workers: ProcessPoolExecutor, rho: float, worlds: int, families: Sequence[str]) -> None:
    for family in families:
        grid = GRIDS[family]
        rows = [
            (float(np.median(np.nan_to_num(_pictures(workers, method, rho, range(worlds)), nan=LIMIT))), method)
            for method in grid
        ]
        for median, method in sorted(rows, key=lambda row: row[0])[:5]:
            print(f"{family}: {median:.0f} {method}", flush=True)


def _show(result: dict[str, Any]) -> None:
    worlds = f"{result['worlds']} worlds, rho {result['rho']:g}"
    show(f"whole loop, median pictures to the target; {worlds}", result["simulated"], LIMIT)
    show(f"selection only, pictures; {worlds}", result["selection_only"], LIMIT)
    stored = json.loads(MINIWORLD.read_text(encoding="utf-8"))
    show(
        f"on the miniworld, from {MINIWORLD.name}; {len(stored['seeds'])} worlds", result["miniworld"], stored["limit"]
    )


if __name__ == "__main__":
    main()

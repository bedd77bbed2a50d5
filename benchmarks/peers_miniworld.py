"""The miniworld half of `make peers`: the methods of `peers.py` with the embedded miniworld as their oracle.

    .venv-peers/bin/python benchmarks/peers_miniworld.py --spot-check          # two of the runs again: same counts?
    .venv-peers/bin/python benchmarks/peers_miniworld.py --seeds 0-4 --home FOLDER --write

Every method meets the same proposals, the same scores of a picture and one counter of pictures. It stops when its own
recommendation gains TARGET over the naive prompts on 40 fresh held-out blocks, which nobody pays for. A method pays
once for a picture however often it asks. Peers get raw scores, as their users would give them; ours subtracts the
naive picture of the block, and pays for it. What is found says nothing about real models.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a script, from anywhere

import numpy as np

from benchmarks.peers import METHODS, MINIWORLD
from benchmarks.peers_drawn import PYTHON, Miniworld, Oracle
from benchmarks.peers_tables import differences, show, summary

TARGET = 2.0
"""Gain over the naive prompts, scores x 100; `make demo` reaches 4.5 to 7.4: an easy target."""
LIMIT = 600
"""Pictures after which a method is censored."""
PLAYED = (
    "ours",
    "OPRO, tuned",
    "gepa, tuned",
    "CAPO, tuned",
    "EvoPromptGA, tuned",
    "uniform",
    "ours, 8 blocks a pull",
    "gepa",
)
"""The METHODS that are played here; tuned settings are those of the simulated worlds."""
SPOT = ("ours", "gepa, tuned")
"""The methods of the spot check."""
SPOT_WORLD = 1
"""Its world, one where they need few pictures."""
Counts = dict[str, int | None]
"""Pictures to the target by method; None where it was stopped at LIMIT."""


def main() -> None:
    """Compare with the file, or make it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spot-check", action="store_true", help=f"run {' and '.join(SPOT)} again and compare")
    parser.add_argument("--seeds", type=_seeds, default="0-4", help="worlds, FIRST-LAST (default 0-4)")
    parser.add_argument("--home", type=Path, help="folder that remembers scores and finished worlds")
    parser.add_argument("--write", action="store_true", help=f"write {MINIWORLD.relative_to(ROOT)}")
    options = parser.parse_args()
    if not PYTHON.exists():
        parser.error(f"{PYTHON.relative_to(ROOT)} is missing, and the oracle needs it; run `make setup` first")
    if options.spot_check:
        sys.exit(_spot_check())
    home = options.home or Path(tempfile.mkdtemp())
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        runs = list(workers.map(partial(play, PLAYED, home), options.seeds))
    result = _result(options.seeds, runs)
    if options.write:
        MINIWORLD.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(f"pictures to a gain of {TARGET:g}; {len(options.seeds)} worlds", result["miniworld"], LIMIT)


def play(methods: Sequence[str], home: Path | None, seed: int) -> Counts:
    """Run the methods in one world; HOME/WORLD/counts.json remembers those that are done."""
    folder = home / str(seed) if home else None
    memory = folder / "counts.json" if folder else None
    found: Counts = json.loads(memory.read_text(encoding="utf-8")) if memory and memory.exists() else {}
    missing = [name for name in methods if name not in found]
    oracle = Oracle(folder) if missing else None
    for name in missing:
        found[name] = _count(name, Miniworld(seed, oracle=oracle))
        print(f"world {seed}: {name}: {found[name]}", file=sys.stderr, flush=True)
        if memory:
            memory.write_text(json.dumps(found), encoding="utf-8")
    if oracle:
        oracle.close()
    return {name: found[name] for name in methods}


def _count(name: str, world: Miniworld) -> int | None:
    """Return the pictures of a method; promptolution swallows errors, and what was not stopped did not end well."""
    count = METHODS[name](world, TARGET, LIMIT)
    if count is None and world.renders < LIMIT:
        raise RuntimeError(
            f"{name} ended after {world.renders} pictures in world {world.number}; see its message above"
        )
    return count


def _result(seeds: Sequence[int], runs: Sequence[Counts]) -> dict[str, Any]:
    """Return what the file holds."""
    counts = {name: [run[name] for run in runs] for name in PLAYED}
    pictures = {name: np.array(row, dtype=float) for name, row in counts.items()}
    return {
        "command": f"benchmarks/peers_miniworld.py --seeds {seeds[0]}-{seeds[-1]} --home FOLDER --write",
        "target": TARGET,
        "limit": LIMIT,
        "seeds": list(seeds),
        "versions": {name: version(name) for name in ("gepa", "promptolution", "numpy")} | _oracle_versions(),
        "miniworld": {name: summary(found, pictures["ours"], LIMIT) for name, found in pictures.items()},
        "renders": counts,
    }


def _oracle_versions() -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({n: m.version(n) for n in ('torch', 'diffusers', 'transformers')}))"
    )
    found = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def _spot_check() -> int:
    """Return 0 if the runs have the counts that the file says, else 1."""
    stored = json.loads(MINIWORLD.read_text(encoding="utf-8"))
    place = stored["seeds"].index(SPOT_WORLD)
    return differences(play(SPOT, None, SPOT_WORLD), {name: stored["renders"][name][place] for name in SPOT})


def _seeds(text: str) -> Sequence[int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit() and int(first) <= int(last or first)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected FIRST-LAST, for example 0-5")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    main()

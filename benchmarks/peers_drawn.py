"""The miniworld as a world of `make peers`: the oracle in a process of brushup's own environment, and its accounts."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers_world import World

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"


class Oracle:
    """`peers_oracle.py` in brushup's own environment, asked line by line."""

    def __init__(self, home: Path | None) -> None:
        command = [str(PYTHON), str(ROOT / "benchmarks" / "peers_oracle.py"), *(["--home", str(home)] if home else [])]
        environ = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)

    def ask(self, **question: object) -> Any:
        """Return the answer.

        Raises:
            RuntimeError: the oracle has ended; its own words are on stderr.
        """
        assert self._process.stdin  # noqa: S101 - both are pipes
        assert self._process.stdout  # noqa: S101
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the oracle ended without an answer; see its message above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass
class Miniworld(World):
    """A world whose pictures are drawn: worth in scores x 100 over the naive prompts, scores as the scorer gives them.

    `renders` counts each picture of this method once: the oracle is deterministic, and a user would keep the score.
    """

    rho: float = 0.0
    oracle: Oracle | None = None
    _drawn: dict[tuple[str, str], float] = field(default_factory=dict)
    _worth: dict[str, float] = field(default_factory=dict)

    def worth(self, instruction: str) -> float:
        """Return the gain on the held-out blocks."""
        if instruction not in self._worth:
            self._worth[instruction] = self._ask(ask="worth", arm=instruction)
        return self._worth[instruction]

    def score(self, instruction: str, block: str) -> float:
        """Draw a picture, unless this method has it already, and return its raw score."""
        return self.scores(instruction, [block])[0]

    def scores(self, instruction: str, blocks: Sequence[str]) -> list[float]:
        """Return the raw score on each block."""
        new = [block for block in dict.fromkeys(blocks) if (instruction, block) not in self._drawn]
        if new:
            values = self._ask(ask="scores", arm=instruction, blocks=new)
            self._drawn.update(zip([(instruction, block) for block in new], values, strict=True))
            self.renders = len(self._drawn)
        return [self._drawn[instruction, block] for block in blocks]

    def _ask(self, **question: object) -> Any:
        assert self.oracle  # noqa: S101 - given by whoever makes a world
        return self.oracle.ask(world=self.number, **question)

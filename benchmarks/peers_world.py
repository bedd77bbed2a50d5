"""The worlds of `make peers`: instructions with a true worth, a proposer of children, an oracle that counts pictures.

Everything is a function of its key, so every method meets the same children and the same scores in whatever order it
asks. An instruction is named by its path: `0` is the initial one, `0.2.1` the second child of its third child.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist

INITIAL = "0"
NAIVE = "naive"
STEP = (-0.13, 0.3)
"""Mean and standard deviation of a child's worth minus its parent's, in standard deviations of one score.

One child in three is better than its parent. With a mean of 0 a random walk along the newest children arrives too, and
a benchmark of selection would measure births."""
OFFSET = 5.0
"""Scores are shifted so that none is below 0, as with HPSv2; EvoPrompt's wheel cannot take negative ones."""


@dataclass
class World:
    """One world. Worth is in standard deviations of one score; `rho` of its variance is the block's.

    Attributes:
        number: which world.
        rho: share of a score's variance that the block (prompt and seed) gives to every instruction alike.
        renders: pictures drawn so far.
    """

    number: int
    rho: float
    renders: int = 0
    _children: Counter[str] = field(default_factory=Counter)

    def worth(self, instruction: str) -> float:
        """Return the true mean score of an instruction: 0 of the initial one, its parent's plus a step of a child."""
        if instruction in (INITIAL, NAIVE):
            return 0.0
        drift, spread = STEP
        return self.worth(instruction.rpartition(".")[0]) + drift + spread * normal(self.number, "step", instruction)

    def child(self, parent: str) -> str:
        """Return the next child of an instruction: the proposer, the same for every method."""
        name = f"{parent}.{self._children[parent]}"
        self._children[parent] += 1
        return name

    def score(self, instruction: str, block: str) -> float:
        """Draw one picture and score it; asking again draws and counts again, and gives the same score."""
        self.renders += 1
        common = self.rho**0.5 * normal(self.number, "block", block)
        own = (1 - self.rho) ** 0.5 * normal(self.number, "residual", f"{instruction} {block}")
        return OFFSET + self.worth(instruction) + common + own

    def scores(self, instruction: str, blocks: Sequence[str]) -> list[float]:
        """Draw and score a picture on each block."""
        return [self.score(instruction, block) for block in blocks]


def turn_of(instruction: str, twins: int) -> tuple[str, int, int]:
    """Return whose child an instruction is, of which of its expansions with `twins` children, and which of them."""
    parent, _, child = instruction.rpartition(".")
    return parent, *divmod(int(child), twins)


@lru_cache(maxsize=1_000_000)
def normal(*key: object) -> float:
    """Return the standard normal number of a key."""
    word = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return NormalDist().inv_cdf((int.from_bytes(word, "big") + 0.5) / 2**64)

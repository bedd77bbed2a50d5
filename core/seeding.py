"""Seeds and random generators derived from the run's seed, so that each draw is a function of its place."""

import hashlib

import numpy as np


def derive_seed(*parts: int | str) -> int:
    """Return a 31-bit seed that is a function of `parts` alone (order matters), the same on every platform."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFF_FFFF


def generator(*parts: int | str) -> np.random.Generator:
    """Return a NumPy generator seeded by `parts` through `SeedSequence`."""
    return np.random.default_rng(np.random.SeedSequence(derive_seed(*parts)))

"""What a simulation keeps is what a run computes from the single rewards: same statistics, same beliefs."""

import numpy as np
import pytest

from bandit.cells import Cells
from bandit.components import Components
from bandit.nested import nested_posterior
from bandit.posterior import joint_posterior
from bandit.prefixes import Prefixes
from core.seeding import generator

WORLDS, ARMS = 40, 6


class Basis:
    """A generator whose normals are one unit vector after the other: a sample is then a column of the root."""

    def __init__(self, size: int) -> None:
        self.size = size

    def normal(self, size: tuple[int, ...]) -> np.ndarray:
        """Return (K, draws, W) or (draws, W, K, 1): draw k is 1 at arm k."""
        unit = np.zeros(size)
        for k in range(self.size):
            unit[(k, k) if len(size) == 3 else (k, slice(None), k)] = 1.0
        return unit


def evidence(pulls: int, seed: int = 0) -> tuple[Prefixes, Cells]:
    """Return the same rewards in both forms; pulls favour the first arms, and at first leave some untried."""
    rng = generator("prefixes", seed)
    table = rng.normal(size=(WORLDS, ARMS, pulls)) + rng.normal(size=(WORLDS, 1, pulls)) + 3.0
    kept, rows = Prefixes(WORLDS, ARMS), np.arange(WORLDS)
    for pull in range(pulls):
        arms = np.minimum(rng.integers(ARMS, size=WORLDS), rng.integers(ARMS, size=WORLDS))
        kept.add(arms, table[rows, arms, kept.n[rows, arms]])
        if pull == pulls // 2:
            kept.against(arms)  # from here on kept up to date
    met = (np.arange(pulls) < kept.n[:, :, None]).astype(float)
    return kept, Cells(table * met, met)


@pytest.mark.parametrize("pulls", [1, 2, 5, 30, 90])
def test_statistics_are_those_of_the_single_rewards(pulls: int) -> None:
    kept, cells = evidence(pulls)
    mean = cells.values.sum(axis=2) / np.maximum(kept.n, 1)
    np.testing.assert_allclose(kept.mean, mean, atol=1e-12)
    np.testing.assert_allclose(kept.variance(kept.mean), cells.variance(mean), atol=1e-12)
    for count in (1, 3, pulls):
        np.testing.assert_allclose(kept.prefix_means(count), cells.prefix_means(count), atol=1e-12)
    for name in ("arm", "block", "residual"):
        np.testing.assert_allclose(getattr(kept.components, name), getattr(cells.components, name), atol=1e-10)
    freedom = np.maximum(kept.n - 1, 0).sum(axis=1)
    within = (kept.n * cells.variance(mean)).sum(axis=1) / np.maximum(freedom, 1)
    np.testing.assert_allclose(kept.pooled, np.where(freedom > 0, np.sqrt(within), 1.0), atol=1e-12)
    for arm in (0, ARMS - 1):
        ours, theirs = (form.against(np.full(WORLDS, arm)) for form in (kept, cells))
        for name in ("n", "mean", "squares"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-10)


@pytest.mark.parametrize("pulls", [1, 4, 30, 90])
@pytest.mark.parametrize("block", [0.0, 0.5, 50.0])
def test_the_posterior_is_the_dense_one(pulls: int, block: float) -> None:
    kept, cells = evidence(pulls, seed=1)
    parts = Components(*(np.full(WORLDS, value) for value in (0.09, block, 0.5)))
    ours = nested_posterior(kept.n, kept.mean, cells.values.sum(axis=1), parts)
    theirs = joint_posterior(cells.values, cells.met, parts)
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-11)
    for arm in range(ARMS):
        chosen = np.full(WORLDS, arm)
        np.testing.assert_allclose(ours.difference_variance(chosen), theirs.difference_variance(chosen), atol=1e-11)
    root = ours.sample(Basis(ARMS), ARMS) - ours.mean  # type: ignore[arg-type]
    np.testing.assert_allclose(np.einsum("dwi,dwj->wij", root, root), theirs.covariance, atol=1e-11)


def test_the_components_are_estimated_anew_only_when_the_evidence_has_grown() -> None:
    kept, _ = evidence(30)
    first = kept.components
    kept.add(np.zeros(WORLDS, dtype=int), np.ones(WORLDS))
    assert kept.components is first
    for _ in range(3):
        kept.add(np.zeros(WORLDS, dtype=int), np.ones(WORLDS))
    assert kept.components is not first

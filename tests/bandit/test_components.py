"""Variance components and the joint posterior, against textbook formulas and brute force."""

import numpy as np
import pytest

from bandit.components import ARM_FLOOR, FLOOR, Components, components
from bandit.posterior import joint_posterior, lineage
from bandit.view import view_of
from bandit.worlds import Setting, Worlds
from core.seeding import generator


def test_a_complete_table_gives_the_classical_mean_squares():
    y = generator("anova").normal(size=(1, 5, 9)) + np.arange(9) * 0.4 + np.arange(5)[:, None]
    rows, columns, all_ = y.mean(axis=2, keepdims=True), y.mean(axis=1, keepdims=True), y.mean()
    residual = ((y - rows - columns + all_) ** 2).sum() / (4 * 8)
    arms = 9 * ((rows - all_) ** 2).sum() / 4
    within = ((y - rows) ** 2).sum() / (5 * 8)
    got = components(y, np.ones_like(y))
    assert got.residual == pytest.approx(residual)
    assert got.arm == pytest.approx((arms - residual) / 9)
    assert got.block == pytest.approx(within - residual)
    assert got.rho == pytest.approx((within - residual) / within)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_components_of_simulated_worlds_are_found_also_with_gaps(rho):
    worlds = Worlds(Setting(worlds=400, arms=6, rho=rho, spread=0.5, seed=1))
    table = worlds.rewards(20)[:, :, :20]
    for met in (np.ones_like(table), (generator("gaps").random(table.shape) < 0.6).astype(float)):
        got = components(table * met, met)
        assert got.residual.mean() == pytest.approx(1 - rho, rel=0.03)
        assert got.block.mean() == pytest.approx(rho, abs=0.06)
        assert got.arm.mean() == pytest.approx(0.25, rel=0.1)


def test_floors():
    y = np.tile(np.arange(6.0), (1, 3, 1))  # arms that agree exactly
    got = components(y, np.ones_like(y))
    assert got.residual == pytest.approx(FLOOR * np.var(np.arange(6.0), ddof=1))
    assert got.arm == pytest.approx(ARM_FLOOR * got.residual)
    one_each = components(np.array([[[1.0], [3.0]]]), np.ones((1, 2, 1)))  # no two common blocks: all of it is residual
    assert (one_each.residual, one_each.block) == (pytest.approx(2.0), 0.0)


def test_the_posterior_is_that_of_the_whole_gaussian_model():
    met = (generator("holes").random((1, 4, 7)) < 0.6).astype(float)
    values = generator("values").normal(size=met.shape) * met
    parts = Components(arm=np.array([0.3]), block=np.array([0.8]), residual=np.array([0.4]))
    seen = np.argwhere(met[0])
    arms, blocks = seen[:, 0], seen[:, 1]
    means = values[0].sum(axis=1) / met[0].sum(axis=1)
    y = values[0, arms, blocks] - means.mean()
    noise = 0.8 * (blocks[:, None] == blocks) + 0.4 * np.eye(len(y))
    cross = 0.3 * (np.arange(4)[:, None] == arms)
    gain = cross @ np.linalg.inv(0.3 * (arms[:, None] == arms) + noise)
    got = joint_posterior(values, met, parts)
    assert got.mean[0] == pytest.approx(means.mean() + gain @ y)
    assert got.covariance[0] == pytest.approx(0.3 * np.eye(4) - gain @ cross.T)
    assert got.difference_variance(np.array([2]))[0, 2] == pytest.approx(0.0, abs=1e-12)
    samples = got.sample(generator("samples"), 20_000)[:, 0]
    assert samples.mean(axis=0) == pytest.approx(got.mean[0], abs=0.02)
    assert np.cov(samples.T) == pytest.approx(got.covariance[0], abs=0.02)


def test_pairing_makes_the_posterior_of_a_difference_narrower():
    shared = {f"b{i}": float(x) for i, x in enumerate(generator("shared").normal(size=30))}
    noise = generator("own").normal(size=(2, 30)) * 0.1
    rows = [{b: x + float(e) for (b, x), e in zip(shared.items(), own, strict=True)} for own in noise]
    common = view_of({"a": rows[0], "c": rows[1]})
    apart = view_of({"a": rows[0], "c": {f"c{b}": x for b, x in rows[1].items()}})
    arm = np.array([0])
    assert common.posterior.difference_variance(arm)[0, 1] < 0.05 * apart.posterior.difference_variance(arm)[0, 1]
    assert common.components.rho[0] > 0.9


def test_a_prior_that_knows_parents_is_that_of_the_family() -> None:
    arms, parents = ["a", "c", "e"], {"b": "a", "c": "b", "d": "a", "e": "c"}  # b and d are gone
    got = np.linalg.inv(lineage(arms, parents))
    assert got == pytest.approx(np.array([[1.0, 1.0, 1.0], [1.0, 3.0, 3.0], [1.0, 3.0, 4.0]]))
    assert lineage(["x", "y"], {}) == pytest.approx(np.eye(2))


def test_a_lucky_child_is_drawn_towards_its_parent() -> None:
    block = generator("family").normal(size=24)
    rows = {
        "parent": {f"b{i}": 1.0 + x + 0.3 * (-1) ** i for i, x in enumerate(block)},
        **{f"old{k}": {f"b{i}": x - 0.3 * (-1) ** (i + k) for i, x in enumerate(block)} for k in range(3)},
        "child": {"b0": 1.3 + block[0]},
    }
    alone, kin = view_of(rows), view_of(rows, {"child": "parent"})
    at = alone.arms.index("child")
    assert alone.posterior.mean[0, at] < kin.posterior.mean[0, at]
    own, parent = rows["child"]["b0"] - block[0], 1.0
    assert parent < kin.posterior.mean[0, at] - block.mean() < own

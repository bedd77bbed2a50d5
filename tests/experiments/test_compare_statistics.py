"""The comparison's statistics against numbers worked out by hand."""

import math

import numpy as np
import pytest

from experiments.compare.statistics import censored_median, holm, nested_bootstrap, renders_to, sign_flip_p


def test_nested_bootstrap_is_the_mean_of_means_and_counts_replicates() -> None:
    estimate = nested_bootstrap([[1.0, 3.0], [5.0], [0.0, 0.0, 3.0]], seed=1)
    assert estimate.mean == pytest.approx((2 + 5 + 1) / 3)
    assert estimate.n == 3
    assert estimate.ci95[0] < estimate.mean < estimate.ci95[1]


def test_nested_bootstrap_of_one_replicate_resamples_its_prompts() -> None:
    assert nested_bootstrap([[2.0, 2.0]], seed=0).ci95 == (2.0, 2.0)
    low, high = nested_bootstrap([[0.0, 4.0]], seed=0).ci95
    assert (low, high) == (0.0, 4.0)


@pytest.mark.slow
def test_nested_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(5), 0
    for world in range(120):
        values = [rng.normal(level, 1.0, size=20) for level in rng.normal(0.0, 0.3, size=10)]
        low, high = nested_bootstrap(values, draws=500, seed=world).ci95
        hits += low <= 0 <= high
    assert 0.9 <= hits / 120 <= 1.0


def test_nested_bootstrap_refuses_empty_replicates() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        nested_bootstrap([[1.0], []], seed=0)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # only +++ and --- are as far from 0
        ([3.0, -1.0], 1.0),  # |2| is reached by +-, -+ (2 and -2), and exceeded by ++, --
        ([4.0, 3.0, -1.0], 4 / 8),  # |6| or more: ++-, --+ (6), +++, --- (8)
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flip_p_counts_patterns(differences: list[float], p: float) -> None:
    assert sign_flip_p(differences) == pytest.approx(p)


def test_sign_flip_p_of_many_replicates_is_sampled() -> None:
    assert sign_flip_p([1.0] * 20) == pytest.approx(1 / 20_001, abs=3e-4)
    assert sign_flip_p([1.0, -1.0] * 10) == pytest.approx(1.0)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])  # 3 x .01, 2 x .03, then never smaller
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_censored_median_puts_lower_bounds_last() -> None:
    assert censored_median([(30, False), (10, False), (20, True)]) == (30, False)
    assert censored_median([(30, False), (20, True), (25, True)]) == (20, True)
    assert censored_median([(10, False), (40, False), (20, True), (20, True)]) == (30, True)
    assert censored_median([(10, False), (40, False)]) == (25, False)


def test_renders_to_the_first_time_a_curve_is_there() -> None:
    curve = [(10, 0.1), (50, 0.9), (80, 0.4), (120, 1.0)]
    assert renders_to(curve, 0.9, 150) == (50, False)
    assert renders_to(curve, 1.1, 150) == (150, True)
    assert not math.isnan(renders_to([], 0.0, 5)[0])

import math

import numpy as np
import pytest

from bandit.bootstrap import bootstrap_mean


def test_covers_the_truth_about_95_percent_of_the_time():
    rng = np.random.default_rng(0)
    hits, samples = 0, 400
    for seed in range(samples):
        prompts = rng.normal(0.3, 1.0, size=40)
        values = {f"p{i}": list(mu + rng.normal(0, 0.5, size=3)) for i, mu in enumerate(prompts)}
        lower, upper = bootstrap_mean(values, draws=500, seed=seed).ci95
        hits += lower <= 0.3 <= upper
    assert 0.90 <= hits / samples <= 0.98


def test_resamples_prompts_not_pictures():
    """Seeds of one prompt that agree add no evidence: ten times the pictures leave the interval as it was."""
    centres = {f"p{i}": float(x) for i, x in enumerate(np.random.default_rng(1).normal(size=30))}
    few = bootstrap_mean({p: [x] for p, x in centres.items()}, seed=0)
    many = bootstrap_mean({p: [x] * 8 for p, x in centres.items()}, seed=0)
    assert few == many
    assert few.n == 30
    width = few.ci95[1] - few.ci95[0]
    assert width == pytest.approx(2 * 1.96 * np.std(list(centres.values())) / math.sqrt(30), rel=0.1)


def test_prompts_weigh_alike_whatever_their_number_of_seeds():
    assert bootstrap_mean({"a": [0.0] * 9, "b": [1.0], "failed": []}, seed=0).mean == 0.5


def test_is_deterministic_and_independent_of_order():
    values = {f"p{i}": [i * 0.1, 1 / (i + 1), 0.3] for i in range(25)}
    turned = {p: values[p][::-1] for p in reversed(values)}
    assert bootstrap_mean(values, seed=7) == bootstrap_mean(turned, seed=7)
    assert bootstrap_mean(values, seed=7).ci95 != bootstrap_mean(values, seed=8).ci95


def test_many_prompts_are_drawn_in_portions():
    values = {f"p{i}": [float(i % 7)] for i in range(3000)}
    got = bootstrap_mean(values, draws=1000, seed=0)
    assert got.ci95[0] < got.mean < got.ci95[1]


def test_one_prompt_gives_a_degenerate_interval():
    got = bootstrap_mean({"a": [0.2, 0.4]}, seed=0)
    assert got.mean == pytest.approx(0.3)
    assert got.ci95 == (got.mean, got.mean)
    assert got.n == 1


@pytest.mark.parametrize("values", [{}, {"a": []}])
def test_no_prompt_is_refused(values):
    with pytest.raises(ValueError, match="0 prompts with values"):
        bootstrap_mean(values, seed=0)


def test_non_finite_values_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_mean({"a": [math.nan], "b": [1.0]}, seed=0)

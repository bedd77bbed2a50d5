"""`brushup simulate`: the shape of its results, and that its measure tells good from bad."""

import json

import numpy as np
import pytest

from core.errors import BadInput
from experiments.simulate import TARGET, Curve, Plan, simulate, simulate_null

pytestmark = pytest.mark.slow


def silent(text: str) -> None:
    pass


def test_the_table_has_the_documented_form() -> None:
    plan = Plan(worlds=150, arms=8, blocks=400, policies=("uniform", "t3c", "sequential-halving"))
    result = json.loads(json.dumps(simulate(plan, silent)))
    assert result["worlds"] == 150
    assert list(result["rho"]) == ["0", "0.5", "0.8"]
    for column in result["rho"].values():
        assert list(column["policies"]) == list(plan.policies)
        for row in column["policies"].values():
            assert set(row) == {"renders_to_target", "ratio_to_uniform", "ci95"}
            low, high = row["ci95"]
            assert low <= row["ratio_to_uniform"] <= high
        assert column["policies"]["uniform"]["ratio_to_uniform"] == 1.0
        assert column["policies"]["t3c"]["ratio_to_uniform"] > 1.0
    gains = [column["uniform_gain_from_pairing"]["ratio"] for column in result["rho"].values()]
    assert gains[0] == pytest.approx(1.0, abs=0.2)
    assert gains[1] > 1.4
    assert gains[2] > 2.5


def test_the_null_table_keeps_its_promise_and_the_repeated_test_does_not() -> None:
    result = simulate_null(Plan(worlds=200, arms=6, batch=2, blocks=200, policies=("uniform", "racing")), silent)
    for column in result["rho"].values():
        for row in column["policies"].values():
            assert row["false_crown_rate"] <= result["alpha"]
            assert row["ci95"][0] <= row["false_crown_rate"] <= row["ci95"][1]
            assert row["repeated_t_test"] > 0.3


def test_a_crossing_is_interpolated_and_inf_where_there_is_none() -> None:
    curve = Curve(np.array([10, 20, 30]), np.array([[TARGET + 0.03, TARGET + 0.01, TARGET - 0.01], [1.0, 1.0, 1.0]]))
    assert curve.crossing(np.eye(2)).tolist() == [pytest.approx(25.0), np.inf]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"worlds": 3}, "--worlds is 3; expected a whole number from 20"),
        ({"arms": 1}, "--arms is 1"),
        ({"batch": 0}, "--batch is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"policies": ("lucky",)}, "--policies names 'lucky'; expected some of: uniform"),
        ({"arms": 16, "batch": 8, "blocks": 100}, "--blocks is 100; expected at least 256"),
    ],
)
def test_bad_input_is_one_clear_line(settings: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Plan(**settings)

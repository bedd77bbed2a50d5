"""The table of `brushup evaluate` from known scores: by hand."""

import math

import pytest

from experiments.suites.table import Case, Outcome, Values, by_group, differences, pooled_sd, table

CASES = [Case("a", "photo"), Case("b", "photo"), Case("c", "anime"), Case("d", "anime")]
NAIVE = [(1.0, 3.0), (2.0, 2.0), (4.0, 6.0), (0.0, 0.0)]


def outcome(name: str, values: list[Values], against: str = "naive", **scores: list[Values]) -> Outcome:
    refined = [
        None if all(value is None for value in row) else f"{case.prompt}, oil"
        for case, row in zip(CASES, values, strict=True)
    ]
    errors = ["" if text else "lost" for text in refined]
    return Outcome(name, against, "label", CASES, refined, errors, {"s": values, **scores}, {"seconds": 0.5})


def test_seeds_are_averaged_within_a_prompt_and_prompts_within_a_row() -> None:
    rows = table([outcome("naive", NAIVE), outcome("r", [(2.0, 6.0), (2.0, 2.0), (4.0, 5.0), (3.0, 3.0)])], "r")["rows"]
    found = rows["r"]["scores"]["s"]
    assert found["mean"] == pytest.approx((4 + 2 + 4.5 + 3) / 4)
    assert found["delta"] == pytest.approx((2 + 0 - 0.5 + 3) / 4)
    assert found["ci95"][0] < found["delta"] < found["ci95"][1]
    assert found["n"] == 4
    assert rows["r"]["seconds_per_prompt"] == 0.5
    assert rows["r"]["words"] == 2


def test_a_gain_under_a_tenth_of_the_seed_sd_is_a_tie() -> None:
    assert pooled_sd(NAIVE) == pytest.approx(math.sqrt((2 + 0 + 2 + 0) / 4))
    margin = 0.1 * pooled_sd(NAIVE)
    gains = (0.9 * margin, 1.1 * margin, -0.9 * margin, -1.1 * margin)
    values = [tuple(value + gain for value in row) for row, gain in zip(NAIVE, gains, strict=True)]
    found = table([outcome("naive", NAIVE), outcome("r", values)], "")["rows"]["r"]["scores"]["s"]
    assert (found["win"], found["tie"]) == (0.25, 0.5)


def test_naive_ties_with_itself() -> None:
    found = table([outcome("naive", NAIVE)], "prip")
    assert found["rows"]["naive"]["scores"]["s"] | {"mean": 0, "n": 0} == {
        "mean": 0, "n": 0, "delta": 0.0, "ci95": [0.0, 0.0], "p": 1.0, "win": 0.0, "tie": 1.0,
    }  # fmt: skip
    assert found["pairs"]["rows"] == {}


def test_failures_are_left_out_and_counted() -> None:
    values: list[Values] = [(None, 5.0), (None, None), (5.0, 7.0), (None, 1.0)]
    ours = outcome("r", values)
    assert differences(ours, outcome("naive", NAIVE), "s") == {"a": 2.0, "c": 1.0, "d": 1.0}
    row = table([outcome("naive", NAIVE), ours], "")["rows"]["r"]
    assert row["scores"]["s"]["n"] == 3
    assert row["failed"] == 1
    assert row["errors"] == {"lost": 1}


def test_a_row_without_any_score_has_none() -> None:
    assert table([outcome("naive", NAIVE), outcome("r", [(None, None)] * 4)], "")["rows"]["r"]["scores"] == {}


def test_relevance_is_none_some_or_all_of_the_scene() -> None:
    judged: list[Values] = [(0.0, 1.0), (1.0, 0.5), (0.25, 1.0), (None, 1.0)]
    row = table([outcome("naive", NAIVE, judge=judged)], "")["rows"]["naive"]
    assert row["relevance_shares"] == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert row["relevance"] == pytest.approx(10 / 7)
    assert table([outcome("naive", NAIVE)], "")["rows"]["naive"]["relevance"] is None


def test_groups_and_pairs() -> None:
    better = [(2.0, 4.0), (3.0, 3.0), (6.0, 8.0), (2.0, 2.0)]
    outcomes = [outcome("naive", NAIVE), outcome("prip", better), outcome("r", NAIVE), outcome("own", NAIVE, "own")]
    found = table(outcomes, "prip")
    families = found["rows"]["prip"]["families"]
    assert (families["photo"]["s"]["delta"], families["anime"]["s"]["delta"]) == (1.0, 2.0)
    assert set(found["pairs"]["rows"]) == {"naive", "r"}, "own has prompts of its own"
    assert found["pairs"]["rows"]["r"]["s"]["difference"] == 1.5
    assert found["pairs"]["rows"]["r"]["s"]["p"] == pytest.approx(2 / 2**4)
    assert by_group(outcomes[1], outcomes[0], ["x", "", "", ""], 0) == {}


def test_p_values_are_adjusted_for_the_number_of_rows() -> None:
    better = [(2.0, 4.0), (3.0, 3.0), (6.0, 8.0), (2.0, 2.0)]
    rows = table([outcome("naive", NAIVE), outcome("r", better), outcome("q", better)], "")["rows"]
    assert rows["r"]["scores"]["s"]["p"] == pytest.approx(1 / 8)
    assert rows["r"]["scores"]["s"]["p_adjusted"] == pytest.approx(2 / 8)
    assert "p_adjusted" not in rows["naive"]["scores"]["s"]

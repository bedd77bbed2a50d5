import math

from agents.contrasts import read_results, select_contrasts, write_results
from core.records import NAIVE, ScoredPrompt


def item(reward, arm="r1c0", block="b1", naive="a cat"):
    return ScoredPrompt(naive, f"{naive}, {arm} {reward}", reward, arm, block)


def test_a_batch_of_one_is_contrasted_with_naive():
    [contrast] = select_contrasts([item(-0.5)], "r1c0", 10)
    assert contrast.within
    assert (contrast.better.arm, contrast.better.reward) == (NAIVE, 0.0)
    assert contrast.worse.reward == -0.5


def test_contrasts_within_a_block_come_before_those_across():
    scored = [item(1.0), item(0.2, "r0c0"), item(-1.0, block="b2"), item(0.9, "r0c0", "b3")]
    chosen = select_contrasts(scored, "r1c0", 10)
    assert [(c.within, c.better.block, c.worse.block, round(c.gap, 3)) for c in chosen] == [
        (True, "b1", "b1", 1.0),
        (True, "b2", "b2", 1.0),
        (True, "b1", "b1", 0.8),
        (False, "b1", "b2", 2.0),
        (True, "b3", "b3", 0.9),
    ]
    assert select_contrasts(scored, "r1c0", 2) == chosen[:2]
    assert select_contrasts(scored, "r1c0", 0) == []


def test_best_meets_worst_by_paired_reward():
    scored = [item(float(k), block=f"b{k}") for k in range(5)]
    across = [c for c in select_contrasts(scored, "r1c0", 99) if not c.within]
    assert [(c.better.reward, c.worse.reward) for c in across] == [(4.0, 0.0), (3.0, 1.0)]


def test_failures_are_left_out_and_an_unpulled_arm_learns_from_others():
    scored = [item(math.nan), item(math.inf, "r0c0"), item(0.5, "r2c0", "b9")]
    [contrast] = select_contrasts(scored, "r1c0", 10)
    assert contrast.better.arm == "r2c0"


def test_results_are_read_as_written():
    scored = [item(1.25), item(-2.0e-7, "r0c0"), item(0.5, block="b2", naive="block 1,\nnaive | prompt: x")]
    text = write_results(select_contrasts(scored, "r1c0", 10), "r1c0")
    found = {(row.naive, row.refined, row.reward, row.who, row.block) for row in read_results(text)}
    odd = "block 1, naive | prompt: x"
    assert ("a cat", "a cat, r1c0 1.25", 1.25, "this", 1) in {(*row[:4], 1) for row in found}
    assert {row[2] for row in found if row[3] == "other"} == {-2.0e-7}
    assert (odd, f"{odd}, r1c0 0.5", 0.5, "this") in {row[:4] for row in found}
    assert len({row[4] for row in found}) == 2

"""Held to it: the offline agents learn from the messages, in a stubbed world, and from nothing else."""

import asyncio

import numpy as np
import pytest

from agents.offline.plan import read_plan
from core.text import phrases
from tests.agents.stub_world import FAMILY, GENERIC, HARMFUL, PHRASES, World, compare, refined, run_loop

pytestmark = pytest.mark.slow

NONSENSE = {
    phrase: f"{'bdfgklmnprtvz'[k % 13]}o{'xqjw'[k // 13]}a v{'aeiou'[k % 5]}k{k}" for k, phrase in enumerate(PHRASES)
}


def added(world, text):
    meant = world.meant()
    pairs = asyncio.run(refined(world, text, 24))
    return [(naive, [meant[p] for p in phrases(out)[len(phrases(naive)) :] if p in meant]) for naive, out in pairs]


@pytest.fixture(scope="module")
def comparisons():
    return [compare(World(seed=seed)) for seed in range(3)]


def test_the_loop_beats_the_initial_and_the_frequent_instruction(comparisons):
    assert min(row.best - row.initial for row in comparisons) > 2.5
    assert min(row.best - row.frequent for row in comparisons) > 1.0
    assert np.mean([row.best for row in comparisons]) > 3.3
    assert all(len(row.run.scored) == 5 * 6 * 8 for row in comparisons)


def test_the_winner_uses_good_phrases_about_five_of_them_and_no_harmful_ones(comparisons):
    rows = [pair for seed, row in enumerate(comparisons) for pair in added(World(seed=seed), row.text)]
    good = {*GENERIC, *(name for group in FAMILY.values() for name in group)}
    assert np.mean([sum(p in good for p in group) for _, group in rows]) > 3.5
    assert np.mean([len(set(GENERIC) & set(group)) for _, group in rows]) > 2.5
    assert np.mean([p in HARMFUL for _, group in rows for p in group]) < 0.02
    assert 3 <= np.mean([len(group) for _, group in rows]) <= 6


def test_phrases_come_to_be_used_where_they_help(comparisons):
    told = [pair for row in comparisons for pair in read_plan(row.text).mentions]
    right = [p in FAMILY[family] for word, group in told for family in FAMILY if word in family for p in group]
    assert np.mean(right) > 0.6
    assert len(right) >= 3


def test_with_the_reward_turned_round_the_loop_ends_on_harmful_phrases():
    world = World(seed=0, sign=-1.0)
    result = asyncio.run(run_loop(world, rounds=4))
    rows = added(world, result.instructions[result.best])
    assert np.mean([p in HARMFUL for _, group in rows for p in group]) > 0.85
    assert not any(p in GENERIC for _, group in rows for p in group)


def test_with_all_phrases_renamed_to_nonsense_the_same_instructions_come_out():
    plain = asyncio.run(run_loop(World(seed=2), rounds=3))
    renamed = asyncio.run(run_loop(World(seed=2, names=NONSENSE), rounds=3))
    back = {f'"{said}"': f'"{phrase}"' for phrase, said in NONSENSE.items()}

    def translate(text):
        for said, phrase in back.items():
            text = text.replace(said, phrase)
        return text

    assert len(set(NONSENSE.values())) == len(PHRASES)
    assert {arm: translate(text) for arm, text in renamed.instructions.items()} == plain.instructions
    assert renamed.best == plain.best
    assert not any(phrase in text for text in renamed.instructions.values() for phrase in PHRASES)

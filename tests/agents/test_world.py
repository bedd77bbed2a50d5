"""Held to it: the offline agents learn from the messages, in a stubbed world, and from nothing else."""

import asyncio

import numpy as np
import pytest

from agents.offline.plan import read_plan
from core.text import phrases
from tests.agents.stub_world import FAMILY, GENERIC, HARMFUL, PHRASES, World, compare, refined, run_loop

NONSENSE = {
    phrase: f"{'bdfgklmnprtvz'[k % 13]}o{'xqjw'[k // 13]}a v{'aeiou'[k % 5]}k{k}" for k, phrase in enumerate(PHRASES)
}


def added(world, text):
    meant = world.meant()
    pairs = asyncio.run(refined(world, text, 24))
    return [(naive, [meant[p] for p in phrases(out)[len(phrases(naive)) :] if p in meant]) for naive, out in pairs]


def test_the_loop_beats_the_initial_and_the_frequent_instruction():
    found = [compare(World(seed=seed)) for seed in range(4)]
    assert min(row.best - row.initial for row in found) > 2.5
    assert min(row.best - row.frequent for row in found) > 1.0
    assert np.mean([row.best for row in found]) > 3.3


def test_the_winner_uses_good_phrases_about_five_of_them_and_no_harmful_ones():
    world = World(seed=1)
    result = asyncio.run(run_loop(world))
    rows = added(world, result.instructions[result.best])
    good = {**GENERIC, **{name: 1 for group in FAMILY.values() for name in group}}
    assert np.mean([sum(p in good for p in group) for _, group in rows]) > 3.5
    assert not any(p in HARMFUL for _, group in rows for p in group)
    assert 3 <= np.mean([len(group) for _, group in rows]) <= 6
    assert all(set(GENERIC) <= set(group) for _, group in rows)


def test_with_more_evidence_phrases_are_used_where_they_help():
    world = World(seed=0, noise=0.3)
    result = asyncio.run(run_loop(world, rounds=6, batch=12))
    assert any(read_plan(text).mentions for text in result.instructions.values())
    assert len(result.scored) == 6 * 6 * 12


@pytest.mark.parametrize("seed", [0, 1])
def test_with_the_reward_turned_round_the_loop_ends_on_harmful_phrases(seed):
    world = World(seed=seed, sign=-1.0)
    result = asyncio.run(run_loop(world))
    rows = added(world, result.instructions[result.best])
    share = np.mean([p in HARMFUL for _, group in rows for p in group])
    assert share > 0.85
    assert not any(p in GENERIC for _, group in rows for p in group)


def test_with_all_phrases_renamed_to_nonsense_the_same_instructions_come_out():
    plain = asyncio.run(run_loop(World(seed=2), rounds=4))
    renamed = asyncio.run(run_loop(World(seed=2, names=NONSENSE), rounds=4))
    back = {f'"{said}"': f'"{phrase}"' for phrase, said in NONSENSE.items()}

    def translate(text):
        for said, phrase in back.items():
            text = text.replace(said, phrase)
        return text

    assert len(set(NONSENSE.values())) == len(PHRASES)
    assert {arm: translate(text) for arm, text in renamed.instructions.items()} == plain.instructions
    assert renamed.best == plain.best
    assert not any(phrase in text for text in renamed.instructions.values() for phrase in PHRASES)

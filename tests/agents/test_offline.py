"""The offline agents one by one: they obey plain English, weigh evidence, and write what they found."""

import asyncio

import numpy as np
import pytest

from agents import (
    INITIAL_INSTRUCTION,
    AgentSettings,
    LLMGradientCalculator,
    LLMInstructionModifier,
    LLMRefiner,
    frequent_instruction,
    load_templates,
    make_chat_model,
    settings_for,
)
from agents.contrasts import Result
from agents.offline.evidence import weigh
from agents.offline.generator import borrowable
from agents.offline.modifier import best_number
from agents.offline.plan import Plan, read_plan, write_plan
from agents.offline.wording import read_evidence, write_evidence
from core.records import ScoredPrompt, TextualGradient
from core.text import phrases

CHAT = make_chat_model("offline/agents")
TEMPLATES = load_templates()
EXAMPLES = ["a dog by a lake, crisp, vivid, airy", "a tree, bold, calm, warm, a very long phrase of many words"]


def refine(instruction, naive="a red cat, anime", seed=0, **settings):
    refiner = LLMRefiner(
        CHAT, instruction, templates=TEMPLATES, exemplars=lambda _: EXAMPLES, settings=AgentSettings(**settings)
    )
    [item] = asyncio.run(refiner.refine([naive], seed=seed))
    assert item.error == ""
    return item.text


@pytest.mark.parametrize(
    ("instruction", "refined"),
    [
        ("Be nice.", "a red cat, anime"),
        ('Always add: "x", "y".', "a red cat, anime, x, y"),
        ("Always add x, y. Use at most 1 phrase.", "a red cat, anime, x"),
        ('If the prompt mentions "anime", add: "z". Always add: "x".', "a red cat, anime, z, x"),
        ('If the prompt mentions "photo", add: "z". Always add: "x".', "a red cat, anime, x"),
        ('If the prompt mentions "anim", add: "z".', "a red cat, anime"),
        ('If the prompt mentions "red cat", add: "z".', "a red cat, anime, z"),
        ('Always add: "x", "y". Never use: "y".', "a red cat, anime, x"),
        ('Always add: "anime", "x".', "a red cat, anime, x"),
        ("ALWAYS ADD “x” and “y”;\nuse at most 5 phrases", "a red cat, anime, x, y"),
        ('<keep>Always add: "x".</keep>', "a red cat, anime, x"),
    ],
)
def test_generator_obeys(instruction, refined):
    assert refine(instruction) == refined


def test_generator_borrows_from_the_examples_differently_for_different_prompts_and_seeds():
    texts = {refine(INITIAL_INSTRUCTION, naive, seed) for naive in ("a cat", "a house", "a boat") for seed in range(3)}
    assert len({tuple(phrases(text)[1:]) for text in texts}) > 4
    for text in texts:
        assert len(phrases(text)) == 4
        assert set(phrases(text)[1:]) <= {"crisp", "vivid", "airy", "bold", "calm", "warm"}
    assert refine(INITIAL_INSTRUCTION) == refine(INITIAL_INSTRUCTION)
    assert "crisp" not in refine('Borrow 9 phrases from the examples. Never use: "crisp".')


def test_generator_tries_some_of_a_pool_and_keeps_to_the_limits():
    text = refine('Also try 2 of: "p", "q", "r", different ones for different prompts. Always add: "x".')
    assert phrases(text)[2] == "x"
    assert len(phrases(text)) == 5
    assert refine('Always add: "x", "y", "z".', max_prompt_chars=20) == "a red cat, anime, x"
    assert refine('Always add: "x", "y", "z".', window=8) == "a red cat, anime, x, y", "eight tokens are six words"


def test_subjects_of_examples_are_not_borrowable():
    assert borrowable(EXAMPLES) == ["crisp", "vivid", "airy", "bold", "calm", "warm"]


@pytest.mark.parametrize(
    "plan",
    [
        Plan(),
        Plan(("a b", "c"), (("anime", ("x",)), ("oil paint", ("y", "z"))), 2, ("p", "q"), ("n",), 5, 1),
        Plan(at_most=1, borrow=3, preamble="Mind the light."),
    ],
)
def test_plans_are_read_as_written(plan):
    assert read_plan(write_plan(plan)) == plan


def test_the_fixed_instructions_say_what_they_mean():
    assert read_plan(INITIAL_INSTRUCTION).borrow == 3
    assert read_plan(frequent_instruction(["a b", "c"])).always == ("a b", "c")
    assert read_plan(frequent_instruction(["a b", "c"])).at_most == 2


def results(worth, *, count=120, size=3, noise=0.3, seed=0, naives=("a cat, anime", "a dog, photo")):
    """Make random designs over the phrases p0..p9; `worth(naive, phrase)` is the truth."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        naive = naives[number % len(naives)]
        added = [f"p{k}" for k in rng.permutation(10)[:size]]
        reward = sum(worth(naive, phrase) for phrase in added) + noise * rng.normal()
        rows.append(Result(naive, ", ".join([naive, *added]), float(reward), "this", number))
    return rows


NAIVES = ("a cat, anime", "a dog, photo", "a boat, anime", "a tree, photo")


def test_evidence_finds_effects_and_their_uncertainty():
    truth = {"p0": 1.0, "p1": 0.5, "p9": -1.0}
    evidence = weigh(results(lambda naive, phrase: truth.get(phrase, 0.0), naives=NAIVES))
    effects = {effect.phrase: effect for effect in evidence.effects if not effect.word}
    assert evidence.share == {}
    assert [effect.phrase for effect in evidence.effects][:2] == ["p0", "p1"]
    assert evidence.effects[-1].phrase == "p9"
    for phrase, effect in effects.items():
        assert abs(effect.mean - truth.get(phrase, 0.0)) < 4 * effect.sd
        assert 0.02 < effect.sd < 0.2


def test_evidence_finds_the_word_on_which_an_effect_depends_from_the_data():
    def worth(naive, phrase):
        return {"p0": 1.0, "p1": 1.0 * ("anime" in naive), "p2": 1.0 * ("photo" in naive)}.get(phrase, 0.0)

    evidence = weigh(results(worth, naives=NAIVES))
    assert set(evidence.share) & {"anime", "photo"}
    assert not set(evidence.share) - {"anime", "photo"}
    for effect in evidence.effects:
        if effect.word and effect.phrase in {"p1", "p2"}:
            expected = 1.0 if (effect.phrase == "p1") == (effect.word == "anime") else 0.0
            assert effect.mean == pytest.approx(expected, abs=0.35)


def test_no_effect_no_word():
    evidence = weigh(results(lambda naive, phrase: 0.0, naives=NAIVES))
    assert evidence.share == {}
    assert all(abs(effect.mean) < 3 * effect.sd for effect in evidence.effects)


def test_little_evidence_is_shrunk_more():
    few, many = (
        weigh(results(lambda naive, phrase: 1.0 * (phrase == "p0"), count=count, noise=1.0, naives=NAIVES))
        for count in (8, 200)
    )
    effect = {len(e.effects) and e.results: next(x for x in e.effects if x.phrase == "p0") for e in (few, many)}
    assert effect[8].sd > 2 * effect[200].sd
    assert effect[200].mean == pytest.approx(1.0, abs=0.4)


def test_dilution_is_seen_in_the_number_of_phrases():
    rows = []
    for size in (2, 4, 6, 8):
        part = results(lambda naive, phrase: 0.3, count=40, size=size, noise=0.1, seed=size, naives=NAIVES)
        rows += [
            Result(row.naive, row.refined, row.reward - 0.6 * max(0, size - 5), "this", row.block + 100 * size)
            for row in part
        ]
    evidence = weigh(rows)
    assert evidence.bend[4] - evidence.bend[8] > 1.0
    assert best_number([0.3] * 10, evidence.bend) in {5, 6}


def test_scale_does_not_matter():
    base = results(lambda naive, phrase: 1.0 * (phrase == "p0"), naives=NAIVES)
    small = [Result(row.naive, row.refined, row.reward * 1e-3, row.who, row.block) for row in base]
    one, two = weigh(base), weigh(small)
    assert [effect.phrase for effect in one.effects] == [effect.phrase for effect in two.effects]
    assert two.effects[0].mean == pytest.approx(1e-3 * one.effects[0].mean)


def test_degenerate_results():
    assert weigh([]) is None
    assert weigh([Result("a cat", "a cat", 0.0, "this", 1)]) is None
    single = weigh([Result("a cat", "a cat, x", 0.5, "this", 1)])
    assert [effect.phrase for effect in single.effects] == ["x"]
    zero = weigh([Result("a cat", "a cat, x", 0.0, "this", 1), Result("a cat", "a cat, y", 0.0, "this", 2)])
    assert all(effect.mean == 0.0 for effect in zero.effects)


def test_the_gradient_is_read_as_written():
    def worth(naive, phrase):
        return {"p0": 1.0, "p1": 1.0 * ("anime" in naive)}.get(phrase, 0.0)

    evidence = weigh([*results(worth, naives=NAIVES), Result("anime", "anime, photo", 0.1, "other", 999)])
    evidence_read = read_evidence(write_evidence(evidence))
    assert [(e.phrase, e.word, e.results) for e in evidence_read.effects] == [
        (e.phrase, e.word, e.results) for e in evidence.effects
    ]
    assert [e.mean for e in evidence_read.effects] == pytest.approx(
        [e.mean for e in evidence.effects], rel=0.01, abs=1e-3
    )
    assert evidence_read.bend.keys() == evidence.bend.keys()
    assert evidence_read.share == pytest.approx(evidence.share, rel=0.01)
    assert evidence_read.results == evidence.results
    assert evidence_read.subjects == evidence.subjects == ("photo",)
    assert read_evidence("Use warmer light.") is None


def critique_and_propose(scored, instruction=INITIAL_INSTRUCTION, n=2):
    settings = settings_for(CHAT.name)
    calculator = LLMGradientCalculator(CHAT, templates=TEMPLATES, settings=settings)
    modifier = LLMInstructionModifier(CHAT, templates=TEMPLATES, settings=settings)
    gradient = asyncio.run(calculator.critique(instruction, scored, EXAMPLES, seed=0))
    return gradient.text, asyncio.run(modifier.propose(instruction, gradient, EXAMPLES, n, seed=0))


def scored(rows):
    return [ScoredPrompt(row.naive, row.refined, row.reward, "r0c0", str(row.block)) for row in rows]


def test_roles_work_together_over_messages_alone():
    def worth(naive, phrase):
        return {"p0": 1.0, "p1": 0.9, "p2": 1.0 * ("anime" in naive), "p9": -1.0}.get(phrase, 0.0)

    text, children = critique_and_propose(scored(results(worth, count=160, naives=NAIVES)), n=4)
    assert 'Clearly helpful: "p0"' in text
    assert 'Clearly harmful: "p9"' in text
    assert len(set(children)) == 4
    for child in children:
        plan = read_plan(child)
        assert {"p0", "p1"} <= set(plan.always)
        assert "p9" in plan.never
    assert (
        any("p2" in group for word, group in read_plan(children[0]).mentions if word == "anime")
        or "p2" in read_plan(children[0]).always
    )


def test_a_batch_of_one_is_enough_to_go_on():
    text, children = critique_and_propose([ScoredPrompt("a cat", "a cat, crisp, vivid", 0.4, "r0c0", "b1")])
    assert '"crisp"' in text
    assert children
    assert INITIAL_INSTRUCTION not in children


def test_without_any_phrase_the_modifier_still_proposes():
    text, children = critique_and_propose([ScoredPrompt("a cat", "a cat", 0.0, "r0c0", "b1")])
    assert "add some" in text
    assert len(children) == 2


def test_frozen_parts_and_the_user_s_own_words_survive():
    parent = '<keep>Always add: "my brand".</keep>\nMind the horizon. Borrow 3 phrases from the examples.'
    rows = results(lambda naive, phrase: 1.0 * (phrase == "p0"), naives=NAIVES)
    _, children = critique_and_propose(scored(rows), parent)
    for child in children:
        assert '<keep>Always add: "my brand".</keep>' in child
        assert "Mind the horizon." in child
        assert refine(child).startswith("a red cat, anime, ")
        assert "my brand" in refine(child)


def test_another_author_s_gradient_does_not_break_the_modifier():
    modifier = LLMInstructionModifier(CHAT, templates=TEMPLATES)
    texts = asyncio.run(modifier.propose(INITIAL_INSTRUCTION, TextualGradient("Use warm light."), EXAMPLES, 3, seed=1))
    assert len(set(texts)) == 3

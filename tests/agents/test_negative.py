"""Negative prompts as part of what an instruction makes of a prompt: asked for, guarded, weighed, written."""

import asyncio

import numpy as np
import pytest

from agents import AgentSettings, LLMGradientCalculator, LLMInstructionModifier, LLMRefiner, load_templates
from agents.contrasts import Result, read_results, select_contrasts, write_results
from agents.guards import require_wanted
from agents.messages import sections
from agents.offline.evidence import weigh
from agents.offline.generator import refine as offline_refine
from agents.offline.modifier import propose
from agents.offline.plan import Plan, read_plan, write_plan
from agents.offline.wording import write_evidence
from core.errors import AgentFailure
from core.records import Refinement, ScoredPrompt, TextualGradient
from tests.agents.scripted import ScriptedChatModel

TEMPLATES = load_templates()
ON = AgentSettings(negative=True)


def refine(*replies, settings=ON):
    chat = ScriptedChatModel(replies)
    refiner = LLMRefiner(chat, "be brief", templates=TEMPLATES, settings=settings)
    [item] = asyncio.run(refiner.refine(["a red cat"], seed=5))
    return chat, item


def test_the_generator_is_asked_for_a_negative_prompt_only_when_it_may_write_one():
    reply = '{"prompt": "a red cat, crisp", "negative_prompt": "blurry,\\n fog"}'
    chat, item = refine(reply)
    assert item == Refinement("a red cat", "a red cat, crisp", negative="blurry, fog")
    assert "negative_prompt" in sections(chat.history[0].messages[0].content)["rules"]
    assert "negative_prompt" in str(chat.history[0].json_schema)
    chat, item = refine(reply, '{"prompt": "a red cat"}', settings=AgentSettings())
    assert item == Refinement("a red cat", "a red cat")
    assert "negative" not in chat.history[0].messages[0].content + str(chat.history[0].json_schema)


def test_a_reply_without_a_negative_prompt_is_fine():
    assert refine('{"prompt": "a red cat, crisp"}')[1] == Refinement("a red cat", "a red cat, crisp")


@pytest.mark.parametrize(
    ("negative", "kind"),
    [("blurry, cats, red", "lost-subject"), ("I'm sorry, I cannot help", "refused"), ("fog " * 200, "too-long")],
)
def test_a_faulty_negative_prompt_is_a_failure(negative, kind):
    reply = f'{{"prompt": "a red cat, crisp", "negative_prompt": "{negative}"}}'
    _, item = refine(reply, reply)
    assert (item.text, item.negative) == ("", "")
    assert item.error.startswith(kind)


def test_what_the_user_asked_for_may_not_be_forbidden_unless_the_rule_is_off():
    require_wanted("a red cat in fog", "blurry, predator", "content-words")
    with pytest.raises(AgentFailure, match="red, fog"):
        require_wanted("a red cat in fog", "fog, Red tint", "verbatim")
    require_wanted("a red cat in fog", "fog, Red tint", "off")


def scored(refined, reward, negative="", arm="r0c0", block="1"):
    return ScoredPrompt("a cat", refined, reward, arm, block, negative)


def test_results_show_negative_prompts_and_are_read_back():
    items = [scored("a cat, crisp", 0.5, "fog, | haze"), scored("a cat, dull", -0.2, arm="r1c0")]
    text = write_results(select_contrasts(items, "r0c0", 10), "r0c0")
    assert "|not| stands the negative prompt" in text
    found = {result.refined: result.negative for result in read_results(text)}
    assert found == {"a cat, crisp": "fog, | haze", "a cat": "", "a cat, dull": ""}
    plain = write_results(select_contrasts([scored("a cat, crisp", 0.5)], "r0c0", 10), "r0c0")
    assert "not|" not in plain


def test_the_gradient_calculator_sees_them():
    chat = ScriptedChatModel(['{"gradient": "forbid fog"}'])
    calculator = LLMGradientCalculator(chat, templates=TEMPLATES)
    asyncio.run(calculator.critique("be brief", [scored("a cat, crisp", 0.5, "fog")], [], seed=1))
    assert "a cat, crisp |not| fog" in chat.history[0].messages[0].content


@pytest.mark.parametrize("settings", [ON, AgentSettings()])
def test_the_modifier_is_told_that_instructions_may_speak_of_them(settings):
    chat = ScriptedChatModel(['{"instructions": ["be bold"]}'])
    modifier = LLMInstructionModifier(chat, templates=TEMPLATES, settings=settings)
    asyncio.run(modifier.propose("be brief", TextualGradient("g"), [], 1, seed=1))
    assert ("negative prompt" in chat.history[0].messages[0].content) is settings.negative


def test_plans_with_negative_prompts_are_read_as_written():
    plan = Plan(always=("crisp",), forbid=("fog", "haze"), forbid_count=2, forbid_pool=("blur", "dust"), at_most=3)
    assert read_plan(write_plan(plan)) == plan


def test_the_offline_generator_never_forbids_a_word_of_the_prompt():
    plan = Plan(always=("crisp",), forbid=("fog", "red tint"), forbid_count=1, forbid_pool=("haze", "blur"))
    rng = np.random.default_rng(0)
    parts = {"prompt": "a red cat", "instruction": write_plan(plan), "rules": "a negative prompt may be written"}
    reply = offline_refine(parts, rng)
    assert reply["prompt"] == "a red cat, crisp"
    forbidden = reply["negative_prompt"].split(", ")
    assert forbidden[0] == "fog"
    assert len(forbidden) == 2
    assert forbidden[1] in {"haze", "blur"}
    assert "negative_prompt" not in offline_refine({**parts, "rules": ""}, rng)


def test_the_offline_agents_learn_what_to_forbid():
    rng = np.random.default_rng(3)
    worth = {"crisp": 1.0, "dull": -1.0, "calm": 0.1}
    forbidden_worth = {"fog": 0.8, "light": -0.8}
    rows = []
    for block in range(60):
        added = [phrase for phrase in worth if rng.random() < 0.5] or ["crisp"]
        negative = [phrase for phrase in forbidden_worth if rng.random() < 0.5]
        reward = sum(worth[p] for p in added) + sum(forbidden_worth[p] for p in negative) + 0.1 * rng.normal()
        refined = ", ".join(["a cat", *added])
        rows.append(Result("a cat", refined, reward, "this", block, ", ".join(negative)))
    evidence = weigh(rows)
    effects = {effect.phrase: effect.mean for effect in evidence.effects}
    assert effects["not: fog"] == pytest.approx(0.8, abs=0.25)
    assert effects["not: light"] == pytest.approx(-0.8, abs=0.25)
    assert max(evidence.bend) <= len(worth) + 1  # phrases of the negative prompt do not crowd the prompt
    parts = {"gradient": write_evidence(evidence), "instruction": "Always add: calm.", "rules": "the negative prompt"}
    plan = read_plan(propose(parts, "Write 1 instructions", rng)[0])
    assert plan.forbid == ("fog",)
    assert plan.forbid_pool == ("dull",)
    assert plan.always[0] == "crisp"
    assert not any("not:" in phrase for phrase in (*plan.always, *plan.try_pool, *plan.never))
    without = propose({**parts, "rules": ""}, "Write 1 instructions", rng)[0]
    assert "negative" not in without

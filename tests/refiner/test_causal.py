"""Causal refiners on a tiny random model: the papers' templates, seeds, wishes, failures, folders."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.errors import BadInput
from core.interfaces import Refiner
from core.records import Refinement
from refiner import load_refiner
from refiner.causal import CausalRefiner, generate, load_released
from refiner.constraints import AUTO, Wishes
from refiner.folder import Manifest
from refiner.lm import LmConfig, build_lm
from refiner.neurologic import NeuroLogic
from refiner.prompting import STYLES, Generation, Prompting
from refiner.sft import save_causal
from refiner.tokenizer import train_tokenizer
from tests.refiner.tiny_lm import tiny_gpt2, tiny_tokenizer

pytestmark = pytest.mark.slow
CORPUS = [
    "a red boat, oil painting, soft light", "a cat by the sea, ukiyo-e, sharp focus, moody", "a tree, pop art",
    "two cats on a boat, soft light, moody, oil painting", "the sea at night, sharp focus",
]  # fmt: skip
PROMPTS = ["a red boat", "a cat by the sea.", "黑猫在海边", "a tree"]
SHORT = {
    "beautifulprompt": Prompting(STYLES["beautifulprompt"].template, generation=Generation(12, 1.2)),
    "neuroprompts": replace(STYLES["neuroprompts"], search=NeuroLogic(beam=3, max_tokens=12, blocked="-")),
    "promptist": replace(STYLES["promptist"], search=replace(STYLES["promptist"].search, max_tokens=10)),
}


@pytest.fixture(scope="module")
def parts() -> tuple:
    tokenizer = train_tokenizer(CORPUS, 320)
    torch.manual_seed(1)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 192}
    lm = build_lm(LmConfig(shape=shape), tokenizer)
    for weight in lm.parameters():
        weight.data *= 4  # choices that differ clearly
    return lm.eval(), tokenizer


def refiner(parts: tuple, style: str) -> CausalRefiner:
    return CausalRefiner(*parts, SHORT[style])


def texts(refiner: CausalRefiner, prompts: list[str], seed: int = 0) -> list[str]:
    found = asyncio.run(refiner.refine(prompts, seed=seed))
    assert [item.naive for item in found] == prompts
    assert all(bool(item.text) != bool(item.error) for item in found)
    return [item.text or f"error: {item.error}" for item in found]


@pytest.mark.parametrize("style", SHORT)
def test_answers_do_not_depend_on_the_rest_of_the_batch(parts: tuple, style: str) -> None:
    own = refiner(parts, style)
    assert isinstance(own, Refiner)
    together = texts(own, [*PROMPTS, PROMPTS[0]])
    assert together[0] == together[4]
    assert together[:4] == [texts(own, [prompt])[0] for prompt in PROMPTS]
    assert together == texts(own, [*PROMPTS, PROMPTS[0]], seed=9)  # greedy and beam search draw nothing


@pytest.mark.parametrize("style", SHORT)
def test_the_empty_prompt_fails_and_chinese_is_answered(parts: tuple, style: str) -> None:
    empty, dots, cat = texts(refiner(parts, style), ["", " . ", "黑猫在海边"])
    assert empty == dots == "error: the prompt is empty; expected what the picture should show"
    assert not cat.startswith("error")
    assert cat.startswith("黑猫在海边") is (style == "neuroprompts")


def test_greedy_answers_are_those_of_transformers(parts: tuple) -> None:
    lm, tokenizer = parts
    source = STYLES["beautifulprompt"].source("a red boat")
    ids = torch.tensor([tokenizer.encode(source)])
    rows = lm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
                       repetition_penalty=1.2, pad_token_id=0)  # fmt: skip
    expected = tokenizer.decode(rows[0, ids.shape[1] :], skip_special_tokens=True)
    assert texts(refiner(parts, "beautifulprompt"), ["a red boat"]) == [SHORT["beautifulprompt"].result("", expected)]


@pytest.mark.parametrize(("penalty", "ngram"), [(-1.0, 0), (1.0, 2), (0.0, 3)])
def test_beam_search_is_that_of_transformers(parts: tuple, penalty: float, ngram: int) -> None:
    lm, tokenizer = parts
    search = NeuroLogic(beam=8, max_tokens=10, min_tokens=1, length_penalty=penalty, no_repeat_ngram=ngram)
    own = CausalRefiner(*parts, Prompting("{prompt},", continues=True, search=search))
    for prompt in ("a red boat", "the sea at night", "a tree"):
        ids = torch.tensor([tokenizer.encode(f"{prompt},")])
        how = {"num_beams": 8, "length_penalty": penalty, "min_new_tokens": 1, "no_repeat_ngram_size": ngram}
        mask = torch.ones_like(ids)
        rows = lm.generate(ids, attention_mask=mask, max_new_tokens=10, do_sample=False, pad_token_id=0, **how)
        expected = tokenizer.decode(rows[0, ids.shape[1] :], skip_special_tokens=True).rstrip("\ufffd")
        assert texts(own, [prompt]) == [own.prompting.result(prompt, expected)]


def test_draws_are_a_function_of_prompt_and_seed(parts: tuple) -> None:
    drawing = replace(SHORT["beautifulprompt"], generation=Generation(12, sample=True, top_p=1.0, top_k=0))
    own = CausalRefiner(*parts, drawing)
    together = texts(own, PROMPTS, seed=3)
    assert together == [texts(own, [prompt], seed=3)[0] for prompt in PROMPTS]
    assert together != texts(own, PROMPTS, seed=4)


def test_drawn_tokens_have_the_models_probabilities(parts: tuple) -> None:
    lm, tokenizer = parts
    ids = torch.tensor([tokenizer.encode("a red boat,")])
    with torch.no_grad():
        expected = lm(ids).logits[0, -1].softmax(-1)
    many = 2000
    inputs = {"input_ids": ids.repeat(many, 1), "attention_mask": torch.ones(many, ids.shape[1], dtype=torch.long)}
    found = generate(lm, tokenizer, inputs, Generation(1, sample=True, top_k=0, top_p=1.0), range(many))
    said = [tokenizer.decode([token], skip_special_tokens=True) for token in range(len(tokenizer))]
    likeliest = max((t for t in range(len(said)) if said.count(said[t]) == 1), key=lambda t: expected[t])  # whole text
    share = found.count(said[likeliest]) / many
    assert share == pytest.approx(expected[likeliest].item(), abs=4 * (0.25 / many) ** 0.5)
    top = generate(lm, tokenizer, inputs, Generation(1, sample=True, top_k=1), range(many))
    assert len(set(top)) == 1


def test_wishes_are_met_and_reported(parts: tuple) -> None:
    wishes = Wishes({"format": ("oil painting",), "vibe": (AUTO,)}, must=("ukiyo-e",), must_not=("cat", "boat"))
    own = replace(refiner(parts, "neuroprompts"), categories={"vibe": ("moody", "soft light")}).wishing(wishes)
    own = replace(own, prompting=replace(own.prompting, search=NeuroLogic(beam=6, max_tokens=30, blocked="-")))
    [found] = asyncio.run(own.refine(["a red boat"], seed=0))
    assert found.text.startswith("a red boat, ")
    assert [(row.label, row.met) for row in own.satisfaction(found, 0)] == [
        ("format", True), ("vibe", True), ("must", True), ("must not", True), ("must not", False),
    ]  # fmt: skip
    assert found.text.count("boat") == 1  # the user's own, which is not taken away
    with pytest.raises(BadInput, match="forbidden"):
        own.wishing(Wishes(must=("a cat",), must_not=("cat",)))


@pytest.fixture(scope="module", params=[True, False], ids=["continues", "replaces"])
def talker(request: pytest.FixtureRequest) -> CausalRefiner:
    """Return a refiner whose variants are all that can be said in four tokens."""
    tokenizer = tiny_tokenizer([",", " ,", " red", " blue", " sky"])
    everything = NeuroLogic(beam=800, max_tokens=4, min_tokens=0, no_repeat_ngram=0, early_stop=False)
    form = Prompting(" {prompt},", continues=True) if request.param else Prompting(" {prompt}")
    return CausalRefiner(tiny_gpt2(len(tokenizer)), tokenizer, replace(form, search=everything))


def variants(refiner: CausalRefiner, prompt: str) -> list[str]:
    [rows] = asyncio.run(refiner.variants([prompt], 800, seed=0))
    return [row.text or row.error for row in rows]


def test_a_forbidden_term_that_only_the_finished_answer_would_have_is_not_answered(talker: CausalRefiner) -> None:
    free, bound = (variants(own, "red") for own in (talker, talker.wishing(Wishes(must_not=("blue, sky",)))))
    assert any("blue, sky" in text for text in free)
    assert bound == [text for text in free if "blue, sky" not in text]  # the next best take their place, in order


def test_the_users_own_words_may_stay_once_although_forbidden(talker: CausalRefiner) -> None:
    own = talker.wishing(Wishes(must_not=("red", "sky")))
    found = variants(own, "red")
    assert max(text.count("red") for text in found) == 1
    assert not any("sky" in text for text in found)
    [kept] = [text for text in found if text == ("red, blue" if talker.prompting.continues else "red blue")]
    assert [row.met for row in own.satisfaction(Refinement("red", kept), 0)] == [False, True]  # told, as it is there


def test_an_answer_that_no_law_allows_fails_with_its_reason(talker: CausalRefiner) -> None:
    mute = talker.wishing(Wishes(must_not=("red", "blue", "sky")))
    left = {True: ["sun"], False: ["the model answered nothing without a forbidden term"]}
    assert variants(mute, "sun") == left[talker.prompting.continues]


def test_wishes_work_for_a_model_that_has_no_search(parts: tuple) -> None:
    own = refiner(parts, "beautifulprompt").wishing(Wishes(must=("moody",)))
    assert "moody" in texts(own, ["a red boat"])[0]


@pytest.mark.parametrize("style", SHORT)
def test_variants_differ(parts: tuple, style: str) -> None:
    own = refiner(parts, style)
    [rows, failed] = asyncio.run(own.variants(["a red boat", ""], 3, seed=0))
    assert 2 <= len({row.text for row in rows}) == len(rows) <= 3
    assert rows[0].text == texts(own, ["a red boat"])[0]
    assert [row.error for row in failed] == ["the prompt is empty; expected what the picture should show"]


def test_failures_are_told(parts: tuple) -> None:
    own = refiner(parts, "beautifulprompt")
    assert "tokens with its template; this model takes 180 before an answer of 12" in texts(own, ["boat " * 300])[0]
    strict = replace(own, prompting=replace(own.prompting, min_kept=1.0))
    assert texts(strict, ["a zeppelin"])[0].startswith("error: lost-subject")


def test_a_folder_is_loaded_with_its_settings_and_categories(parts: tuple, tmp_path: Path) -> None:
    lm, tokenizer = parts
    settings = {"style": "neuroprompts", "search": {"beam": 3, "max_tokens": 12}, "wishes": {"must": ["moody"]}}
    save_causal(tmp_path / "r", lm, tokenizer, Manifest("causal", "tiny", "CC0-1.0", settings=settings))
    (tmp_path / "r" / "categories.json").write_text('{"vibe": ["calm"]}')
    own = load_refiner(tmp_path / "r")
    assert isinstance(own, CausalRefiner)
    assert own.categories == {"vibe": ("calm",)}
    assert own.prompting.search == NeuroLogic(beam=3, max_tokens=12, blocked=STYLES["neuroprompts"].search.blocked)
    assert "moody" in texts(own, ["a red boat"])[0]
    again = load_released("promptist", str(tmp_path / "r"))
    assert again.prompting is STYLES["promptist"]


def test_what_does_not_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="expected one of beautifulprompt"):
        load_released("magic")
    with pytest.raises(BadInput, match="nowhere/at-all: got nothing that loads"):
        load_released("promptist", "nowhere/at-all@main")

"""NeuroLogic decoding against brute force, and what a user relies on: laws, time, batches, embeddings."""

import itertools
import random
import re
from dataclasses import replace

import pytest
import torch

from core.errors import BadInput
from refiner.clauses import Clause, Judge, must, must_not
from refiner.neurologic import Hypothesis, NeuroLogic, Wanted, decode
from tests.refiner.tiny_lm import tiny_gpt2, tiny_model, tiny_tokenizer

pytestmark = pytest.mark.slow
PIECES = [" cat", "egory", ",", " oil", " ink"]
TOKENIZER = tiny_tokenizer(PIECES)
EXACT = NeuroLogic(beam=700, max_tokens=3, min_tokens=0, no_repeat_ngram=0, early_stop=False, whole_phrases=False)


def search(model, prefix: str, clauses, settings: NeuroLogic = EXACT, n: int = 1) -> list[Hypothesis]:
    ids = torch.tensor([TOKENIZER.encode(prefix)])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return decode(model, TOKENIZER, inputs, [Wanted(prefix, tuple(clauses))], settings, n=n)[0]


def brute_force(model, prefix: str, clauses, settings: NeuroLogic) -> list[tuple]:
    """Return (clauses met, score, tokens) of every text that the laws allow, best first; nothing here is shared."""
    ids, found = TOKENIZER.encode(prefix), []
    for length in range(settings.min_tokens, settings.max_tokens + 1):
        rows = list(itertools.product(range(1, len(TOKENIZER)), repeat=length))
        with torch.no_grad():
            logprobs = model(torch.tensor([[*ids, *row] for row in rows])).logits.log_softmax(-1).tolist()
        for row, logprob in zip(rows, logprobs, strict=True):
            text = prefix + "".join(PIECES[token - 1] for token in row)
            if not any(exceeds(c, prefix, text) for c in clauses) and not repeats(ids, row, clauses, prefix, settings):
                said = [*row, 0][: settings.max_tokens]
                total = sum(logprob[len(ids) - 1 + i][token] for i, token in enumerate(said))
                found.append(
                    (
                        sum(count_of(c, text) >= c.at_least for c in clauses),
                        total / len(said) ** settings.length_penalty,
                        row,
                    )
                )
    return sorted(found, key=lambda item: (-item[0], -item[1]))


def repeats(ids, row, clauses, prefix: str, settings: NeuroLogic) -> bool:
    """Tell whether an n-gram ends in the continuation that was there before, and not to go on with a wanted term."""
    size, said = settings.no_repeat_ngram, (*ids, *row)
    for end in range(len(ids), len(said)):
        gram = said[end + 1 - size : end + 1]
        before = said[:end]
        old = any(before[i : i + size] == gram for i in range(len(before) - size + 1))
        if size and end + 1 >= size and old and not spells(clauses, prefix, row[: end - len(ids)], said[end]):
            return True
    return False


def spells(clauses, prefix: str, row, token: int) -> bool:
    """Tell whether a token goes on with a term that the continuation has begun and the text still lacks."""
    text = prefix + "".join(PIECES[t - 1] for t in row)
    lacking = [term for c in clauses if count_of(c, text) < c.at_least for term in c.terms]
    spelled = [TOKENIZER.encode(lead + term) for term in lacking for lead in (" ", "")]
    return any(
        row[len(row) - m :] == tuple(tokens[:m]) and tokens[m] == token
        for tokens in spelled
        if 0 not in tokens
        for m in range(1, min(len(tokens), len(row) + 1))
    )


def starts(clause: Clause, text: str) -> list[int]:
    found = {m.start(1) for term in clause.terms for m in re.finditer(rf"(?=(\b{re.escape(term)}\b))", text)}
    return sorted(found)


def count_of(clause: Clause, text: str) -> int:
    return len(starts(clause, text))


def exceeds(clause: Clause, prefix: str, text: str) -> bool:
    """Tell whether the continuation has a term although there are more than enough."""
    if clause.at_most is None or count_of(clause, text) <= clause.at_most:
        return False
    found = [m.end() for term in clause.terms for m in re.finditer(rf"\b{re.escape(term)}\b", text)]
    return max(found) > len(prefix)


def random_clauses(rng: random.Random) -> list[Clause]:
    terms = ["cat", "oil", "ink", "category", "oil ink", "ink oil", "cat, oil", "cat ink", "sun"]
    clauses = []
    for _ in range(rng.randint(0, 3)):
        at_least = rng.randint(0, 2)
        at_most = rng.choice([None, at_least, at_least + 1])
        clauses.append(Clause(tuple(rng.sample(terms, rng.randint(1, 2))), at_least, at_most))
    return clauses


@pytest.mark.parametrize("look_ahead", [0, 2])
@pytest.mark.parametrize("clauses", [[], [must("oil ink")], [must("cat"), must_not("oil", "ink")]])
def test_with_a_beam_as_wide_as_the_space_the_best_text_is_found(clauses, look_ahead: int) -> None:
    model = tiny_gpt2(len(TOKENIZER), seed=3)
    best = brute_force(model, " ink", clauses, EXACT)[0]
    result = search(model, " ink", clauses, replace(EXACT, look_ahead=look_ahead))[0]
    assert (sum(result.met), result.tokens) == (best[0], best[2])
    assert result.score == pytest.approx(best[1], abs=1e-5)


@pytest.mark.parametrize("seed", range(16))
def test_random_constraints_against_brute_force(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    model, clauses = tiny_gpt2(len(TOKENIZER), seed), random_clauses(rng)
    prefix = rng.choice([" cat", " oil, ink", ","])
    settings = NeuroLogic(
        beam=4000, max_tokens=4, min_tokens=rng.randint(0, 2), length_penalty=rng.choice([-1.0, 0.0, 0.7, 1.0]),
        no_repeat_ngram=rng.choice([0, 2, 3]), sat_tolerance=rng.randint(0, 2), look_ahead=rng.choice([0, 1, 3]),
        early_stop=False, phrase_starts=rng.choice([True, False]),
        whole_phrases=False,
    )  # fmt: skip
    expected = brute_force(model, prefix, clauses, settings)[:3]
    results = search(model, prefix, clauses, settings, n=3)
    assert [(sum(r.met), r.tokens) for r in results[: len(expected)]] == [(met, row) for met, _, row in expected]
    assert [r.score for r in results[: len(expected)]] == pytest.approx([score for _, score, _ in expected], abs=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_narrow_beams_keep_the_laws_and_meet_what_they_say_they_meet(seed: int) -> None:
    rng = random.Random(100 + seed)  # noqa: S311
    model, clauses = tiny_gpt2(len(TOKENIZER), seed), random_clauses(rng)
    settings = NeuroLogic(beam=rng.randint(1, 4), max_tokens=8, min_tokens=2, look_ahead=rng.choice([0, 2]))
    for result in search(model, " cat", clauses, settings, n=2):
        text = " cat" + result.text
        assert list(result.met) == list(Judge(clauses, " cat").verdict(text).met)
        assert not any(exceeds(clause, " cat", text) for clause in clauses)


def test_what_is_not_allowed_gives_way_to_the_next_best() -> None:
    model, ids = tiny_gpt2(len(TOKENIZER), seed=3), torch.tensor([TOKENIZER.encode(" ink")])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    best = [row for _, _, row in brute_force(model, " ink", [], EXACT)[:3]]
    refused = "".join(PIECES[token - 1] for token in best[1])
    wanted = [Wanted(" ink", (), lambda text: text != refused), Wanted(" ink", (), lambda _: False)]
    both = {key: value.repeat(2, 1) for key, value in inputs.items()}
    [left, nothing] = decode(model, TOKENIZER, both, wanted, EXACT, n=2)
    assert [result.tokens for result in left] == [best[0], best[2]]
    assert [result.text for result in nothing] == [""]


def test_wanted_terms_are_met_where_plain_beam_search_never_says_them() -> None:
    model = tiny_gpt2(len(TOKENIZER), seed=1)
    settings = NeuroLogic(beam=3, max_tokens=8, min_tokens=2)
    wanted = [must("oil ink"), must("cat")]
    assert sum(search(model, ",", wanted, settings)[0].met) == 2
    plain = search(model, ",", [], settings)[0].text
    assert not Judge(wanted).verdict(plain).met[0]


def test_a_phrase_that_is_a_wish_says_nothing_else() -> None:
    def phrases(seed: int, *, whole: bool) -> list[str]:
        settings = NeuroLogic(beam=3, max_tokens=8, min_tokens=2, whole_phrases=whole)
        [result] = search(tiny_gpt2(len(TOKENIZER), seed), " oil,", [must("cat", "cat ink")], settings)
        assert result.met == (True,)
        return [phrase.strip() for phrase in result.text.split(",")]

    def first(found: list[str]) -> str:
        """Return the first phrase with the term, if it begins with it."""
        return next((phrase for phrase in found if re.search(r"\bcat\b", phrase)), "") + " "

    whole = [first(phrases(seed, whole=True)) for seed in range(12)]
    free = [first(phrases(seed, whole=False)) for seed in range(12)]
    begun = [phrase for phrase in whole if phrase.startswith("cat ")]
    assert set(begun) <= {"cat ", "cat ink "}
    assert len(begun) > 2
    assert {phrase for phrase in free if phrase.startswith("cat ")} - {"cat ", "cat ink "}, "it would say more"


def test_a_hyphenated_term_is_reachable_although_the_hyphen_is_blocked() -> None:
    tokenizer = tiny_tokenizer([" ukiyo", "-", "e", " art", ","])
    model = tiny_gpt2(len(tokenizer), seed=2)
    ids = torch.tensor([[4]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    settings = NeuroLogic(beam=3, max_tokens=10, min_tokens=1, blocked="-", no_repeat_ngram=0)
    [[result]] = decode(model, tokenizer, inputs, [Wanted(" art", (must("ukiyo-e"),))], settings)
    assert result.met == (True,)
    assert result.text.count("-") == result.text.count(" ukiyo-e")
    [[free]] = decode(model, tokenizer, inputs, [Wanted(" art")], settings)
    assert "-" not in free.text


def test_rare_terms_of_many_tokens_are_finished_and_set_apart() -> None:
    pieces = [",", " a", " b", " x", "y", "z", "x"]
    tokenizer = tiny_tokenizer(pieces)
    model = tiny_gpt2(len(tokenizer), seed=4)
    ids = torch.tensor([tokenizer.encode(" a,")])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    settings = NeuroLogic(beam=2, max_tokens=14, min_tokens=1)
    [[result]] = decode(model, tokenizer, inputs, [Wanted(" a,", (must("xyzzyzyx"),))], settings)
    assert result.met == (True,)
    assert ", xyzzyzyx" in " a," + result.text  # with its space, after a comma, although n-grams repeat inside it


@pytest.mark.parametrize("look_ahead", [0, 2])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "bloom"])  # learned positions, rotary with shared keys, ALiBi
def test_a_batch_padded_on_the_left_is_its_rows(kind: str, look_ahead: int) -> None:
    model = tiny_model(kind, len(TOKENIZER), seed=5)
    settings = NeuroLogic(beam=4, max_tokens=6, min_tokens=1, look_ahead=look_ahead)
    prefixes, clauses = [" cat", " oil, ink", ", ink, cat"], [(must("ink"),), (must_not("cat"),), ()]
    rows = [TOKENIZER.encode(prefix) for prefix in prefixes]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    wanted = [Wanted(*pair) for pair in zip(prefixes, clauses, strict=True)]
    together = decode(model, TOKENIZER, {"input_ids": ids, "attention_mask": mask}, wanted, settings)
    embeds = model.get_input_embeddings()(ids).detach()
    embedded = decode(model, TOKENIZER, {"inputs_embeds": embeds, "attention_mask": mask}, wanted, settings)
    for both, from_embeds, item in zip(together, embedded, wanted, strict=True):
        alone = search(model, item.prefix, item.clauses, settings)[0]
        assert both[0].tokens == from_embeds[0].tokens == alone.tokens
        assert both[0].score == pytest.approx(alone.score, abs=1e-5)


@pytest.mark.parametrize("look_ahead", [0, 3])
def test_nothing_is_read_past_the_models_last_position(look_ahead: int) -> None:
    model = tiny_gpt2(len(TOKENIZER), seed=5)
    prefix = " oil ink" * 26
    room = model.config.n_positions - len(TOKENIZER.encode(prefix))
    assert room == 12
    settings = NeuroLogic(beam=2, max_tokens=room, min_tokens=room - 1, no_repeat_ngram=0, look_ahead=look_ahead)
    result = search(model, prefix, [must("sun", "cat")], settings)[0]
    assert len(result.tokens) >= room - 1
    assert result.met == (True,)


class Clock:
    """Each look at it costs a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize("seconds", [0.5, 3.0, 6.0])
def test_out_of_time_the_best_so_far_is_returned(seconds: float) -> None:
    model, prefix = tiny_gpt2(len(TOKENIZER), seed=5), " cat"
    ids = torch.tensor([TOKENIZER.encode(prefix)])
    settings = NeuroLogic(beam=3, max_tokens=50, min_tokens=40, no_repeat_ngram=0, max_seconds=seconds)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    [[result]] = decode(model, TOKENIZER, inputs, [Wanted(prefix, (must("ink"),))], settings, clock=Clock())
    assert not result.ended
    assert len(result.tokens) == int(seconds) - (seconds >= 1)
    assert result.met == Judge([must("ink")]).verdict(" cat" + result.text).met


def test_when_nothing_may_be_said_nothing_is() -> None:
    everything = must_not("cat", "oil", "ink", ",", "category")
    [result] = search(tiny_gpt2(len(TOKENIZER)), " cat", [everything], replace(EXACT, min_tokens=1, max_tokens=1))
    assert (result.text, result.tokens) == ("", ())


def test_wrong_use_is_refused() -> None:
    with pytest.raises(BadInput, match="beam 0"):
        NeuroLogic(beam=0)
    with pytest.raises(BadInput, match="look_ahead"):
        NeuroLogic(look_ahead=-1)
    with pytest.raises(ValueError, match="expected input_ids or inputs_embeds"):
        decode(tiny_gpt2(6), TOKENIZER, {"attention_mask": torch.ones(1, 1)}, [Wanted()])

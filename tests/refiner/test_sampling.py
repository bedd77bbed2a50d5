"""Drawing tokens: greedy as transformers does it, and random draws that depend on their own seed alone."""

from itertools import pairwise

import pytest
import torch

from core.errors import BadInput
from refiner.lm import padded
from refiner.sampling import Context, Decoding, draw
from tests.refiner.tiny import tiny_lm

pytestmark = pytest.mark.slow
ROWS = [[0, 3, 4, 5], [0, 6], [0, 9, 2]]


def context(lm: object, rows: list[list[int]]) -> Context:
    ids, mask = padded(rows, 0, "left")
    return Context(lm.get_input_embeddings()(ids).detach(), mask)  # type: ignore[attr-defined]


def sharp_lm() -> object:
    """A random model whose distributions are far from flat."""
    lm = tiny_lm(3).eval()
    with torch.no_grad():
        lm.transformer.wte.weight *= 20
    return lm


def test_greedy_is_that_of_transformers() -> None:
    lm = sharp_lm()
    drawn = draw(lm, context(lm, ROWS), Decoding(10), [0, 0, 0], end=0)
    for row, found, kept in zip(ROWS, drawn.tokens, drawn.mask, strict=True):
        ids = torch.tensor([row])
        wanted = lm.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False, pad_token_id=0
        )
        assert found[kept.bool()].tolist() == wanted[0, len(row) :].tolist()


def test_a_draw_depends_on_its_seed_and_not_on_its_place() -> None:
    lm = tiny_lm()
    free = Decoding(12, temperature=1.0)
    together = draw(lm, context(lm, ROWS), free, [5, 6, 7], end=0)
    alone = draw(lm, context(lm, ROWS[1:2]), free, [6], end=0)
    length = int(alone.mask.sum())
    assert together.tokens[1, :length].tolist() == alone.tokens[0, :length].tolist()
    torch.testing.assert_close(together.logprobs[1, :length], alone.logprobs[0, :length], atol=1e-4, rtol=1e-4)
    other = draw(lm, context(lm, ROWS[1:2]), free, [8], end=0)
    assert other.tokens.tolist() != alone.tokens.tolist()


def test_frequencies_are_the_models_probabilities() -> None:
    lm = sharp_lm()
    one = context(lm, [[0, 3]])
    many = Context(one.embeds.expand(4000, -1, -1), one.mask.expand(4000, -1))
    for temperature in (0.5, 1.0):
        logits = lm(inputs_embeds=one.embeds).logits[0, -1] / temperature
        drawn = draw(lm, many, Decoding(1, temperature), list(range(4000)), end=0).tokens[:, 0]
        found = torch.bincount(drawn, minlength=len(logits)) / 4000
        torch.testing.assert_close(found, logits.softmax(-1), atol=0.03, rtol=0)


def test_top_p_keeps_the_smallest_set() -> None:
    lm = sharp_lm()
    one = context(lm, [[0, 3]])
    many = Context(one.embeds.expand(500, -1, -1), one.mask.expand(500, -1))
    ordered, order = lm(inputs_embeds=one.embeds).logits[0, -1].softmax(-1).sort(descending=True)
    kept = int((ordered.cumsum(0) < 0.8).sum()) + 1
    drawn = draw(lm, many, Decoding(1, 1.0, top_p=0.8), list(range(500)), end=0).tokens[:, 0]
    assert set(drawn.tolist()) <= set(order[:kept].tolist())


def test_no_n_gram_twice() -> None:
    lm = sharp_lm()
    looping = draw(lm, context(lm, ROWS), Decoding(24), [0] * 3, end=1)
    rows = draw(lm, context(lm, ROWS), Decoding(24, no_repeat_ngram_size=2), [0] * 3, end=1).tokens.tolist()
    assert any(len(set(pairwise(row))) < len(row) - 1 for row in looping.tokens.tolist())
    for row in rows:
        pairs = [pair for pair in pairwise(row) if pair != (1, 1)]
        assert len(set(pairs)) == len(pairs)


def test_what_was_read_counts_as_said_but_padding_does_not() -> None:
    lm = tiny_lm(3).eval()
    decoding = Decoding(10, repetition_penalty=1.7)
    together = draw(lm, context(lm, ROWS), decoding, [0] * 3, end=0, said=ROWS)
    for row, found, kept in zip(ROWS, together.tokens, together.mask, strict=True):
        ids = torch.tensor([row])
        wanted = lm.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=10,
            do_sample=False,
            repetition_penalty=1.7,
            pad_token_id=0,
        )
        assert found[kept.bool()].tolist() == wanted[0, len(row) :].tolist()
    assert together.tokens.tolist() != draw(lm, context(lm, ROWS), Decoding(10), [0] * 3, end=0).tokens.tolist()


def test_top_k_keeps_so_many() -> None:
    lm = sharp_lm()
    one = context(lm, [[0, 3]])
    many = Context(one.embeds.expand(500, -1, -1), one.mask.expand(500, -1))
    likely = lm(inputs_embeds=one.embeds).logits[0, -1].topk(3).indices.tolist()
    warm = Decoding(1, 5.0, top_k=3)
    assert set(draw(lm, many, warm, list(range(500)), end=0).tokens[:, 0].tolist()) == set(likely)


def test_rows_that_ended_are_read_no_more() -> None:
    lm, read = tiny_lm(), []
    hook = lm.register_forward_pre_hook(
        lambda _, __, given: read.append(len(given["attention_mask"])), with_kwargs=True
    )
    drawn = draw(lm, context(lm, ROWS * 8), Decoding(30, 1.0), list(range(24)), end=0)
    hook.remove()
    assert read == [24, *(int(alive) for alive in (drawn.mask[:, 1:]).sum(dim=0))]


def test_after_the_end_there_is_padding() -> None:
    drawn = draw(tiny_lm(), context(tiny_lm(), ROWS * 8), Decoding(30, 1.0), list(range(24)), end=0)
    ended = 0
    for tokens, mask in zip(drawn.tokens.tolist(), drawn.mask.tolist(), strict=True):
        length = sum(mask)
        assert mask == [1] * length + [0] * (len(mask) - length)
        assert 0 not in tokens[: length - 1]
        assert set(tokens[length:]) <= {0}
        ended += tokens[length - 1] == 0
    assert ended > 0


def test_bad_settings_are_refused() -> None:
    with pytest.raises(BadInput, match="expected max_new_tokens >= 1"):
        Decoding(0)

"""The random sequence of blocks: one for all arms, an epoch at a time."""

from core.records import Prompt
from graph.blocks import evaluation_blocks, train_batch

PROMPTS = [Prompt(f"p{k}", f"prompt {k}", "train") for k in range(10)]


def test_a_batch_is_a_function_of_its_number() -> None:
    assert train_batch(PROMPTS, 3, size=4, seed=1) == train_batch(PROMPTS, 3, size=4, seed=1)
    assert train_batch(PROMPTS, 3, size=4, seed=1) != train_batch(PROMPTS, 3, size=4, seed=2)


def test_an_epoch_meets_every_prompt_once_and_the_next_one_again_with_other_seeds() -> None:
    blocks = [block for batch in range(5) for block in train_batch(PROMPTS, batch, size=4, seed=0)]
    first, second = blocks[:10], blocks[10:]
    assert {b.prompt_id for b in first} == {b.prompt_id for b in second} == {p.id for p in PROMPTS}
    assert {b.replicate for b in first} == {0}
    assert {b.replicate for b in second} == {1}
    assert len({b.seed for b in blocks}) == 20
    assert len({b.id for b in blocks}) == 20


def test_batches_of_another_size_walk_the_same_sequence() -> None:
    small = [b.prompt_id for k in range(4) for b in train_batch(PROMPTS, k, size=5, seed=0)]
    large = [b.prompt_id for k in range(2) for b in train_batch(PROMPTS, k, size=10, seed=0)]
    assert small == large


def test_evaluation_gives_every_prompt_the_same_number_of_seeds() -> None:
    blocks = evaluation_blocks(PROMPTS, 3, seed=0)
    assert len(blocks) == 30
    assert len({b.seed for b in blocks}) == 30
    assert [b.prompt_id for b in blocks[:3]] == ["p0"] * 3
    assert blocks[:6] == evaluation_blocks(PROMPTS[:2], 3, seed=0)

"""The random sequences of blocks: pure functions of (seed, split, place), so every arm meets the same ones."""

from collections.abc import Sequence

from core.records import Block, Prompt
from core.seeding import derive_seed, generator


def train_batch(prompts: Sequence[Prompt], batch: int, *, size: int, seed: int) -> list[Block]:
    """Return batch number `batch` of the one random sequence of the train split.

    The sequence is epoch after epoch of all train prompts, each epoch in an order of its own, each place with a
    diffusion seed of its own (2406.08713, section 3.2: a batch is drawn uniformly from the simple prompts).

    Args:
        prompts: the train split, in a fixed order.
        batch: which batch, from 0.
        size: blocks a batch.
        seed: the run's seed.
    """
    return [_train_block(prompts, batch, place, size=size, seed=seed) for place in range(size)]


def _train_block(prompts: Sequence[Prompt], batch: int, place: int, *, size: int, seed: int) -> Block:
    position = batch * size + place
    epoch, offset = divmod(position, len(prompts))
    order = generator("train-order", seed, epoch).permutation(len(prompts))
    return Block(
        id=f"train/{batch}.{place}",
        prompt_id=prompts[int(order[offset])].id,
        seed=derive_seed("diffusion", seed, "train", position),
        split="train",
        batch=batch,
        place=place,
        replicate=epoch,
    )


def evaluation_blocks(prompts: Sequence[Prompt], seeds: int, *, seed: int) -> list[Block]:
    """Return every prompt of an evaluation split with `seeds` diffusion seeds each, prompt by prompt.

    A prompt is refined once by an arm and drawn with each seed.
    """
    return [
        Block(
            id=f"{prompt.split}/{place}.{k}",
            prompt_id=prompt.id,
            seed=derive_seed("diffusion", seed, prompt.split, prompt.id, k),
            split=prompt.split,
            batch=place,
            place=k,
        )
        for place, prompt in enumerate(prompts)
        for k in range(seeds)
    ]

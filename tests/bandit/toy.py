"""A toy run: arms with known means, shared block effects, rewards told pull by pull."""

from bandit import POLICIES, PolicySettings
from bandit.session import Bandit
from core.seeding import generator

BATCH = 4


def scores_of(arm: str, batch: int, mu: dict[str, float], seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return (scores, naive scores) of one arm on one batch; block effects are common to all arms."""
    shared = generator("blocks", seed, batch).normal(size=BATCH)
    noise = generator("noise", seed, arm, batch).normal(size=BATCH) * 0.3
    blocks = [f"b{batch}-{place}" for place in range(BATCH)]
    naive = {block: float(value) for block, value in zip(blocks, shared, strict=True)}
    return {block: naive[block] + mu[arm] + float(e) for block, e in zip(blocks, noise, strict=True)}, naive


def new_bandit(policy: str, arms=(), **settings) -> Bandit:
    return Bandit(POLICIES[policy](PolicySettings(**settings)), arms=arms)


def play(bandit: Bandit, mu: dict[str, float], seed: int, first: int, pulls: int) -> list[str]:
    """Make `pulls` pulls one after the other and return the arms pulled."""
    chosen = []
    for k in range(first, first + pulls):
        pull = bandit.ask(f"p{k}", generator(seed, k))
        bandit.tell(pull.id, *scores_of(pull.arm, pull.batch, mu, seed))
        chosen.append(pull.arm)
    return chosen

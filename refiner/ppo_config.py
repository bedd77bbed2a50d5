"""PPO's settings, with TRL's names. Importing this module costs nothing (no torch)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import BadInput
from refiner.train_config import check_seed

_AT_LEAST = {
    **dict.fromkeys(("steps", "batch_size", "num_mini_batches", "num_ppo_epochs", "micro_batch_size"), 1),
    **dict.fromkeys(("max_new_tokens", "kl_horizon", "checkpoint_every"), 1),
    **dict.fromkeys(("kl_target", "reward_calibration", "diagnose_every"), 0),
}
_ADVANTAGES, _ESTIMATORS, _SCHEDULES = ("gae", "rloo"), ("k1", "k3"), ("constant", "cosine")


@dataclass(frozen=True)
class PpoConfig:
    """How a policy is trained by reinforcement.

    Attributes:
        steps: each is one batch of episodes and `num_ppo_epochs * num_mini_batches` optimiser steps.
        batch_size: episodes a step.
        num_mini_batches: parts that a batch is cut into, one optimiser step each.
        num_ppo_epochs: passes over a batch.
        micro_batch_size: episodes in memory at once; the result does not depend on it.
        learning_rate: the highest.
        schedule: `constant` or `cosine`, after the warm-up.
        warmup_ratio: share of the steps with a linear warm-up.
        weight_decay: AdamW's.
        betas: AdamW's.
        eps: AdamW's.
        max_grad_norm: longer gradients are shortened to it.
        advantage: `gae` (with a value head) or `rloo` (leave-one-out over `rloo_k` episodes of a prompt).
        rloo_k: episodes a prompt under `rloo`; under `gae` there is one.
        kl_coef: price of one nat of KL to the policy before training.
        kl_estimator: `k1` or `k3`.
        kl_target: nats an episode that `kl_coef` is adapted to hold; 0 = fixed coefficient.
        kl_horizon: episodes over which it is adapted.
        cliprange: of the policy's ratio.
        cliprange_value: of the value head's step.
        vf_coef: weight of the value loss.
        gamma: discount.
        lam: of GAE.
        whiten_rewards: scale token rewards to variance 1 in a batch.
        whiten_advantages: scale advantages to mean 0 and variance 1 in a batch.
        temperature: of sampling, and of all log-probabilities.
        max_new_tokens: an episode's longest completion.
        missing_eos_penalty: taken off the score of a completion that did not end by itself.
        reward_weights: by scorer; empty = equal.
        reward_calibration: episodes that decide each scorer's standard deviation; 0 = raw scores.
        checkpoint_every: steps between checkpoints.
        diagnose_every: steps between looks at greedy answers to a few fixed prompts, for signs of collapse; 0 = never.
        bf16: autocast to bfloat16.
        seed: of data order, sampling and rewards.
    """

    steps: int = 200
    batch_size: int = 64
    num_mini_batches: int = 1
    num_ppo_epochs: int = 4
    micro_batch_size: int = 64
    learning_rate: float = 1e-5
    schedule: str = "constant"
    warmup_ratio: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    advantage: str = "gae"
    rloo_k: int = 4
    kl_coef: float = 0.05
    kl_estimator: str = "k1"
    kl_target: float = 0.0
    kl_horizon: int = 10_000
    cliprange: float = 0.2
    cliprange_value: float = 0.2
    vf_coef: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    whiten_rewards: bool = False
    whiten_advantages: bool = True
    temperature: float = 1.0
    max_new_tokens: int = 64
    missing_eos_penalty: float = 0.0
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    reward_calibration: int = 256
    checkpoint_every: int = 10
    diagnose_every: int = 10
    bf16: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, known in (("advantage", _ADVANTAGES), ("kl_estimator", _ESTIMATORS), ("schedule", _SCHEDULES)):
            if getattr(self, name) not in known:
                raise BadInput(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}, expected at least {least}")
        for name in ("learning_rate", "temperature", "cliprange", "cliprange_value"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.reward_weights and not 0 < sum(map(abs, self.reward_weights.values())) < math.inf:
            raise BadInput(f"reward_weights is {dict(self.reward_weights)}, expected numbers that are not all 0")
        if self.batch_size % (self.num_mini_batches * self.per_prompt):
            raise BadInput(
                f"batch_size is {self.batch_size}, expected a multiple of num_mini_batches ({self.num_mini_batches}) "
                f"times episodes a prompt ({self.per_prompt})"
            )
        if self.advantage == "rloo" and self.rloo_k < 2:
            raise BadInput(f"rloo_k is {self.rloo_k}, expected at least 2: an episode is compared with the others")

    @property
    def per_prompt(self) -> int:
        """Episodes a prompt in each batch."""
        return self.rloo_k if self.advantage == "rloo" else 1


def small_ppo(learning_rate: float) -> PpoConfig:
    """Return settings for the miniworld's refiners, minutes on one core.

    Four episodes share a prompt and its diffusion seed: the user's own picture is drawn once for the four, and what the
    seed does cancels in the leave-one-out advantage.
    """
    return PpoConfig(
        steps=100,
        batch_size=64,
        micro_batch_size=64,
        num_mini_batches=2,
        num_ppo_epochs=2,
        learning_rate=learning_rate,
        warmup_ratio=0.05,
        kl_coef=0.02,
        advantage="rloo",
        rloo_k=4,
        max_new_tokens=48,
    )

"""The mathematics of PPO as pure functions on tensors of shape (episodes, tokens), with TRL's names.

A mask is 1 on the tokens that the policy chose, the end token included, and 0 on padding. Sources: PPO (1707.06347),
GAE (1506.02438), KL estimators k1 and k3 (Schulman, "Approximating KL divergence", 2020), adaptive KL (1909.08593,
section 2.2), RLOO (2402.14740).
"""

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values under the mask, a scalar; 0 under an empty mask."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def masked_whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Return the values scaled to variance 1 (unbiased, under the mask), and to mean 0 unless `shift_mean` is False."""
    mean = masked_mean(values, mask)
    count = mask.sum()
    variance = ((values - mean).square() * mask).sum() / (count - 1).clamp(min=1)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return whitened if shift_mean else whitened + mean


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return log-probabilities (episodes, tokens) of the chosen tokens under logits (episodes, tokens, vocabulary)."""
    return torch.log_softmax(logits.float(), dim=-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy in nats of each token's distribution, (episodes, tokens)."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)


def kl_estimate(logprobs: Tensor, ref_logprobs: Tensor, estimator: str) -> Tensor:
    """Return a per-token estimate of KL(policy || reference) from tokens that the policy sampled.

    With r = reference / policy: `k1` is -log r (unbiased, may be negative), `k3` is (r - 1) - log r (unbiased, never
    negative, less variance).

    Raises:
        ValueError: another estimator.
    """
    log_ratio = ref_logprobs - logprobs
    if estimator == "k1":
        return -log_ratio
    if estimator == "k3":
        return log_ratio.exp() - 1 - log_ratio
    raise ValueError(f"kl_estimator is {estimator!r}, expected k1 or k3")


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """Return rewards per token: -kl_coef * kl everywhere, and each episode's score on its last token.

    Args:
        scores: one number an episode, (episodes,).
        kl: the KL estimate, (episodes, tokens).
        mask: at least one 1 in each row, (episodes, tokens).
        kl_coef: price of one nat.
    """
    rewards = -kl_coef * kl * mask
    last = mask.long().sum(dim=1) - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Return generalised advantages and returns (their sum with the values), 0 outside the mask.

    delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lam A_{t+1} (1506.02438, equations 11 and 16). The value
    after an episode's last token is 0.
    """
    values = values * mask
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for step in reversed(range(rewards.shape[1])):
        after = values[:, step + 1] if step + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, step] + gamma * after - values[:, step]
        following = (delta + gamma * lam * following) * mask[:, step]
        advantages[:, step] = following
    return advantages, (advantages + values) * mask


def rloo(returns: Tensor, valid: Tensor) -> Tensor:
    """Return leave-one-out advantages (prompts, k): each episode's return less the mean of its prompt's others.

    Args:
        returns: one number an episode, its KL penalty included, (prompts, k).
        valid: 1 for episodes that have a score, (prompts, k). One without, or without any valid other, gets 0.
    """
    others = valid.sum(dim=1, keepdim=True) - valid
    baseline = ((returns * valid).sum(dim=1, keepdim=True) - returns * valid) / others.clamp(min=1)
    return (returns - baseline) * valid * (others > 0)


def policy_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, cliprange: float) -> tuple[Tensor, Tensor]:
    """Return PPO's clipped loss per token (1707.06347, equation 7, negated), and 1 where clipping took effect."""
    ratio = torch.exp(logprobs - old_logprobs)
    free = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return torch.maximum(free, clipped), (clipped > free).float()


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, cliprange_value: float) -> tuple[Tensor, Tensor]:
    """Return half the clipped squared error per token, and 1 where clipping took effect."""
    near = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
    free, clipped = (values - returns).square(), (near - returns).square()
    return 0.5 * torch.maximum(free, clipped), (clipped > free).float()


def adapted_kl_coef(kl_coef: float, kl: float, *, target: float, horizon: int, episodes: int) -> float:
    """Return the coefficient for the next step: larger when the KL of an episode is over its target, by at most 20 %.

    coef * (1 + clip(kl / target - 1, -0.2, 0.2) * episodes / horizon) (1909.08593, section 2.2).
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * episodes / horizon)

"""PPO's functions against numbers worked out by hand."""

import math

import pytest
import torch

from refiner.ppo_math import (
    adapted_kl_coef,
    entropy,
    gae,
    kl_estimate,
    masked_mean,
    masked_whiten,
    policy_loss,
    rloo,
    token_logprobs,
    token_rewards,
    value_loss,
)


def close(found: torch.Tensor, wanted: list[object] | float) -> None:
    target = torch.tensor(wanted)
    assert found.shape == target.shape
    assert found.flatten().tolist() == pytest.approx(target.flatten().tolist(), abs=1e-6, rel=1e-5)


def test_gae_by_hand() -> None:
    # gamma .9, lam .8. Row 1: A2 = 2 - 1.5 = .5; A1 = .9 * 1.5 - 1 + .72 * .5 = .71; A0 = 1 + .9 - .5 + .72 * .71
    # Row 2 ends after its second token: A1 = 1 - 2 = -1; A0 = .9 * 2 - 1 + .72 * -1 = .08; the 9 is never seen
    rewards = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    values = torch.tensor([[0.5, 1.0, 1.5], [1.0, 2.0, 9.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    advantages, returns = gae(rewards, values, mask, gamma=0.9, lam=0.8)
    close(advantages, [[1.9112, 0.71, 0.5], [0.08, -1.0, 0.0]])
    close(returns, [[2.4112, 1.71, 2.0], [1.08, 1.0, 0.0]])


def test_gae_with_lam_1_and_gamma_1_is_the_return_less_the_value() -> None:
    rewards, values = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0.3, 0.2, 0.1]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3), 1.0, 1.0)
    close(returns, [[7.0, 6.0, 4.0]])
    close(advantages, [[6.7, 5.8, 3.9]])


def test_policy_loss_clips_gains_and_never_losses() -> None:
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5]])
    advantages = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    loss, clipped = policy_loss(ratio.log(), torch.zeros(1, 4), advantages, 0.2)
    close(loss, [[-2.4, 3.0, -1.0, 1.6]])
    close(clipped, [[1.0, 0.0, 0.0, 1.0]])


def test_value_loss_takes_the_worse_of_both() -> None:
    values, old, returns = torch.tensor([[1.0, 0.1, 1.0]]), torch.zeros(1, 3), torch.tensor([[2.0, 2.0, 0.0]])
    loss, clipped = value_loss(values, old, returns, 0.2)
    close(loss, [[0.5 * 1.8**2, 0.5 * 1.9**2, 0.5]])  # the step of .1 is inside; towards a return of 0 clipping helps
    close(clipped, [[1.0, 0.0, 0.0]])


def test_kl_estimators() -> None:
    policy, reference = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log()
    close(kl_estimate(policy, reference, "k1"), [[math.log(2)]])
    close(kl_estimate(policy, reference, "k3"), [[0.5 - 1 + math.log(2)]])
    with pytest.raises(ValueError, match="expected k1 or k3"):
        kl_estimate(policy, reference, "k2")


def test_both_kl_estimators_have_the_true_kl_as_their_mean() -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    true = (policy * (policy / reference).log()).sum()
    for estimator in ("k1", "k3"):
        mean = (policy * kl_estimate(policy.log(), reference.log(), estimator)).sum()
        assert mean.item() == pytest.approx(true.item())


def test_whitening_looks_under_the_mask_only() -> None:
    values, mask = torch.tensor([[1.0, 2.0], [3.0, 100.0]]), torch.tensor([[1, 1], [1, 0]])
    close(masked_whiten(values, mask)[mask.bool()], [-1.0, 0.0, 1.0])
    close(masked_whiten(values, mask, shift_mean=False)[mask.bool()], [1.0, 2.0, 3.0])
    close(masked_mean(values, mask), 2.0)
    close(masked_mean(values, torch.zeros(2, 2)), 0.0)


def test_rloo_by_hand() -> None:
    returns = torch.tensor([[1.0, 2.0, 6.0], [1.0, 2.0, 6.0], [1.0, 2.0, 6.0]])
    valid = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    close(rloo(returns, valid), [[-3.0, -1.5, 4.5], [-5.0, 0.0, 5.0], [0.0, 0.0, 0.0]])


def test_the_score_comes_with_the_last_token() -> None:
    rewards = token_rewards(
        torch.tensor([3.0, 1.0]),
        torch.tensor([[0.1, 0.2, 0.9], [0.4, 0.0, 0.2]]),
        torch.tensor([[1, 1, 0], [1, 1, 1]]),
        0.5,
    )
    close(rewards, [[-0.05, 2.9, 0.0], [-0.2, 0.0, 0.9]])


def test_adaptive_kl_moves_at_most_a_fifth_of_the_horizon_share() -> None:
    far = adapted_kl_coef(0.1, 12.0, target=6.0, horizon=1000, episodes=100)
    near = adapted_kl_coef(0.1, 5.4, target=6.0, horizon=1000, episodes=100)
    assert far == pytest.approx(0.102)
    assert near == pytest.approx(0.099)


def test_logprobs_and_entropy() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)], [5.0, 5.0]]])
    close(token_logprobs(logits, torch.tensor([[1, 0]])), [[math.log(0.75), math.log(0.5)]])
    close(entropy(logits), [[-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), math.log(2)]])

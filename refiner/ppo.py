"""PPO in one loop that can be read from top to bottom; its mathematics is `refiner/ppo_math.py`. Heavy: imports torch.

Proximal policy optimisation (1707.06347) with GAE or leave-one-out advantages, for every `refiner.policies.Policy`.
Every metric is defined in docs/metrics.md.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import BadInput
from core.seeding import derive_seed, generator
from core.text import digest, unique
from refiner.checkpoint import Checkpoints, described
from refiner.diagnostics import collapse_metrics, greedy_metrics, warnings
from refiner.policies import Policy
from refiner.ppo_config import PpoConfig
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
from refiner.rewards import Episodes, RewardFunction, RewardMix
from refiner.sampling import Decoding, Drawn, draw, positions
from refiner.train_config import data_order
from refiner.training import adamw, autocast, seed_everything, set_rate

logger = logging.getLogger(__name__)
_ASKED = 16
"""Prompts whose greedy answers are looked at."""


class ValueHead(nn.Module):
    """Predicts an episode's return at each token from the language model's last hidden state.

    The state is detached: the head learns to read it, and the value loss changes nothing but the head. With D frozen, a
    value gradient would pull E towards pivots that are easy to judge instead of good.
    """

    def __init__(self, width: int) -> None:
        """Start at 0 everywhere."""
        super().__init__()
        self.inner, self.out = nn.Linear(width, width), nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return values (n, tokens) of states (n, tokens, width)."""
        return self.out(torch.tanh(self.inner(hidden.detach().float()))).squeeze(-1)


@dataclass(frozen=True)
class Batch:
    """One batch of episodes, fixed while the policy is updated. Tensors are (episodes, tokens); mask is as in Drawn.

    Attributes:
        prompts: the users' prompts.
        drawn: the completions.
        logprobs: of the policy that drew them.
        values: of the value head then.
        advantages: 0 for episodes without a score.
        returns: what the values should have been.
        mask: 1 on tokens that count: not padding, not an episode without a score.
    """

    prompts: Sequence[str]
    drawn: Drawn
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    mask: Tensor


def train(
    policy: Policy, prompts: Sequence[str], reward: RewardFunction, config: PpoConfig, folder: Path, *, what: Any = None
) -> list[dict[str, float]]:
    """Train a policy in place, from this training's last checkpoint in the folder if there is one.

    On the CPU, a training that was killed and started again ends with the same bits as one that went through, if the
    reward is a function of its episodes.

    Args:
        policy: what is trained; it ends in eval mode.
        prompts: users' prompts, at least one.
        reward: judges each step's episodes; see `refiner.rewards`.
        config: how.
        folder: of checkpoints; trainings may share it, and equal ones are done once, see `refiner.checkpoint`.
        what: what else decides the episodes and their reward (template, scorers), in plain JSON types: another one
            makes another training, as another config, other prompts or another model to start from do.

    Returns:
        The metrics of every step.

    Raises:
        BadInput: no prompts, a reward without any number in a whole step, or a folder that cannot be used.
    """
    if not prompts:
        raise BadInput("ppo: got no prompts, expected at least one; check the data and its filters")
    seed_everything(config.seed)
    device = next(policy.trained.parameters()).device
    head = ValueHead(policy.lm.get_input_embeddings().weight.shape[1]).to(device)
    model = nn.ModuleDict({"policy": policy.trained, "value": head})
    optimiser = adamw(model, config)
    mix = RewardMix(dict(config.reward_weights), config.reward_calibration)
    start = described(nn.ModuleList([policy.trained, policy.lm]), exactly=True)  # what the KL is measured to
    places = Checkpoints(folder, digest([asdict(config), list(prompts), start, what]))
    fresh: dict[str, Any] = {"history": [], "moments": {}, "kl_coef": config.kl_coef}
    with places.held():
        first, state = places.load(model, optimiser) or (0, fresh)
        mix.moments = {scorer: (int(n), mean, squares) for scorer, (n, mean, squares) in state["moments"].items()}
        policy.trained.train()
        for step in range(first, config.steps):
            rate = set_rate(optimiser, step, config.steps, config)
            batch, metrics = _collect(
                policy, head, _chosen(prompts, config, step), reward, mix, state["kl_coef"], config, step
            )
            metrics |= {"lr": rate, "step": step + 1, **_update(policy, model, optimiser, batch, config, step)}
            if config.diagnose_every and ((step + 1) % config.diagnose_every == 0 or step + 1 in (1, config.steps)):
                metrics |= _greedy(policy, prompts, config)
            state["history"].append(metrics)
            if config.kl_target:
                kl, episodes = metrics["objective/kl"], config.batch_size
                state["kl_coef"] = adapted_kl_coef(
                    state["kl_coef"], kl, target=config.kl_target, horizon=config.kl_horizon, episodes=episodes
                )
            state["moments"] = mix.moments
            logger.info(
                "step %d of %d: score %.4g, kl %.3g",
                step + 1,
                config.steps,
                metrics["objective/scores"],
                metrics["objective/kl"],
            )
            for line in warnings(metrics, state["history"][0]):
                logger.warning("step %d: %s", step + 1, line)
            if step + 1 == config.steps or (step + 1) % config.checkpoint_every == 0:
                places.save(step + 1, model, optimiser, state)
    policy.trained.eval()
    return state["history"]


def _chosen(prompts: Sequence[str], config: PpoConfig, step: int) -> list[str]:
    """Return a step's prompts, each `per_prompt` times in a row."""
    count = config.batch_size // config.per_prompt
    order = data_order(len(prompts), config.seed, step * count, count)
    return [prompts[index] for index in order for _ in range(config.per_prompt)]


@torch.no_grad()
def _greedy(policy: Policy, prompts: Sequence[str], config: PpoConfig) -> dict[str, float]:
    """Return what the policy's greedy answers tell, always to the same few of the prompts; nothing random is drawn."""
    different = unique(prompts)
    order = generator("ppo-greedy", config.seed).permutation(len(different))
    asked = [different[index] for index in order[:_ASKED]]
    with autocast(_device(policy), config.bf16):
        drawn = draw(policy.lm, policy.context(asked), Decoding(config.max_new_tokens), [0] * len(asked), policy.end)
    return greedy_metrics(asked, policy.texts(asked, drawn.tokens, drawn.mask))


@torch.no_grad()
def _collect(
    policy: Policy,
    head: ValueHead,
    prompts: Sequence[str],
    reward: RewardFunction,
    mix: RewardMix,
    kl_coef: float,
    config: PpoConfig,
    step: int,
) -> tuple[Batch, dict[str, float]]:
    """Let the policy act, have it judged, and work out advantages."""
    decoding = Decoding(config.max_new_tokens, config.temperature)
    seeds = [derive_seed("ppo", config.seed, step, row) for row in range(len(prompts))]
    with autocast(_device(policy), config.bf16):
        drawn = draw(policy.lm, policy.context(prompts), decoding, seeds, policy.end)
    logprobs, values, spread = _evaluate(policy, head, prompts, drawn, config)
    with policy.reference():
        ref_logprobs, _, _ = _evaluate(policy, head, prompts, drawn, config)
    refined = policy.texts(prompts, drawn.tokens, drawn.mask)
    rewards = reward(Episodes(prompts, refined, derive_seed("ppo-reward", config.seed, step)))
    mixed = mix.mix(rewards)
    if all(value is None for value in mixed):
        raise BadInput(f"ppo: got no number from the reward for any episode of step {step + 1}; see why it fails")
    valid = torch.tensor([float(value is not None) for value in mixed], device=logprobs.device)
    ended = (drawn.tokens == policy.end).logical_and(drawn.mask.bool()).any(dim=1).float()
    scores = torch.tensor([value or 0.0 for value in mixed], device=logprobs.device)
    scores = scores - config.missing_eos_penalty * (1 - ended)
    mask = drawn.mask * valid[:, None]
    kl = kl_estimate(logprobs, ref_logprobs, config.kl_estimator) * drawn.mask
    advantages, returns = _advantages(scores, kl, values, drawn.mask, valid, kl_coef, config)
    batch = Batch(prompts, drawn, logprobs, values, advantages, returns, mask)
    metrics = {
        "objective/scores": masked_mean(scores, valid).item(),
        "objective/kl": masked_mean(kl.sum(dim=1), valid).item(),
        "objective/entropy": masked_mean((spread * drawn.mask).sum(dim=1), valid).item(),
        "objective/non_score_reward": -kl_coef * masked_mean(kl.sum(dim=1), valid).item(),
        "objective/rlhf_reward": masked_mean(scores - kl_coef * kl.sum(dim=1), valid).item(),
        "objective/kl_coef": kl_coef,
        "objective/failed": 1 - valid.mean().item(),
        "val/ended": ended.mean().item(),
        "val/tokens": drawn.mask.sum(dim=1).float().mean().item(),
        "val/explained_variance": _explained(batch),
        **{f"scores/{name}": _mean(numbers) for name, numbers in rewards.items()},
        **collapse_metrics(prompts, refined, rewards),
    }
    return batch, metrics


def _advantages(
    scores: Tensor, kl: Tensor, values: Tensor, mask: Tensor, valid: Tensor, kl_coef: float, config: PpoConfig
) -> tuple[Tensor, Tensor]:
    """Return advantages and returns, (episodes, tokens); episodes that are not valid count nowhere."""
    counted = mask * valid[:, None]
    if config.advantage == "rloo":
        whole = (scores - kl_coef * kl.sum(dim=1)).view(-1, config.rloo_k)
        advantages = rloo(whole, valid.view(-1, config.rloo_k)).view(-1, 1) * counted
        returns = torch.zeros_like(advantages)
    else:
        rewards = token_rewards(scores, kl, mask, kl_coef)
        if config.whiten_rewards:
            rewards = masked_whiten(rewards, counted, shift_mean=False) * counted
        advantages, returns = gae(rewards, values, mask, config.gamma, config.lam)
    if config.whiten_advantages:
        advantages = masked_whiten(advantages, counted)
    return advantages * counted, returns


def _update(
    policy: Policy, model: nn.ModuleDict, optimiser: torch.optim.Optimizer, batch: Batch, config: PpoConfig, step: int
) -> dict[str, float]:
    """Take `num_ppo_epochs * num_mini_batches` optimiser steps on one batch; return the means of their metrics."""
    size = config.batch_size // config.num_mini_batches
    head: Any = model["value"]
    sums: dict[str, float] = {}
    for epoch in range(config.num_ppo_epochs):
        order = generator("ppo-order", config.seed, step, epoch).permutation(config.batch_size).tolist()
        for start in range(0, config.batch_size, size):
            rows = order[start : start + size]
            count = batch.mask[rows].sum().clamp(min=1)
            model.zero_grad()
            for piece in range(0, size, config.micro_batch_size):
                losses = _losses(policy, head, batch, rows[piece : piece + config.micro_batch_size], config)
                value = losses["loss/value"] if config.advantage == "gae" else torch.zeros_like(losses["loss/value"])
                ((losses["loss/policy"] + config.vf_coef * value) / count).backward()
                for name, number in losses.items():
                    sums[name] = sums.get(name, 0.0) + (number / count).item()
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            sums["grad_norm"] = sums.get("grad_norm", 0.0) + float(norm)
            optimiser.step()
    updates = config.num_ppo_epochs * config.num_mini_batches
    return {name: number / updates for name, number in sums.items()}


def _losses(policy: Policy, head: ValueHead, batch: Batch, rows: Sequence[int], config: PpoConfig) -> dict[str, Tensor]:
    """Return losses and metrics of some episodes, each summed over their tokens."""
    drawn = Drawn(*(tensor[rows] for tensor in batch.drawn))
    mask, old = batch.mask[rows], batch.logprobs[rows]
    with autocast(_device(policy), config.bf16):
        logprobs, values, spread = _forward(policy, head, [batch.prompts[row] for row in rows], drawn, config)
    actor, clipped = policy_loss(logprobs, old, batch.advantages[rows], config.cliprange)
    critic, value_clipped = value_loss(values, batch.values[rows], batch.returns[rows], config.cliprange_value)
    log_ratio = logprobs.detach() - old
    per_token = {
        "loss/policy": actor,
        "loss/value": critic,
        "policy/clipfrac": clipped,
        "val/clipfrac": value_clipped,
        "policy/approxkl": 0.5 * log_ratio.square(),
        "policy/entropy": spread.detach(),
        "val/ratio": log_ratio.exp(),
    }
    return {name: (tensor * mask).sum() for name, tensor in per_token.items()}


def _evaluate(
    policy: Policy, head: ValueHead, prompts: Sequence[str], drawn: Drawn, config: PpoConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `_forward` of all episodes, in pieces that fit into memory."""
    parts = []
    for start in range(0, len(prompts), config.micro_batch_size):
        piece = slice(start, start + config.micro_batch_size)
        with autocast(_device(policy), config.bf16):
            parts.append(_forward(policy, head, prompts[piece], Drawn(*(tensor[piece] for tensor in drawn)), config))
    logprobs, values, spread = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(values), torch.cat(spread)


def _forward(
    policy: Policy, head: ValueHead, prompts: Sequence[str], drawn: Drawn, config: PpoConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probabilities, values and entropies (episodes, tokens) of completions, 0 on padding."""
    context = policy.context(prompts)
    written = policy.lm.get_input_embeddings()(drawn.tokens)
    mask = torch.cat([context.mask, drawn.mask], dim=1)
    out = policy.lm(
        inputs_embeds=torch.cat([context.embeds, written.to(context.embeds.dtype)], dim=1),
        attention_mask=mask,
        position_ids=positions(mask),
        output_hidden_states=True,
    )
    before = slice(context.mask.shape[1] - 1, -1)  # what each token was chosen from
    logits = out.logits[:, before].float() / config.temperature
    logprobs = token_logprobs(logits, drawn.tokens) * drawn.mask
    values = head(out.hidden_states[-1][:, before]).float() * drawn.mask
    return logprobs, values, entropy(logits) * drawn.mask


def _explained(batch: Batch) -> float:
    """Return 1 - variance(returns - values) / variance(returns) under the mask; 0 when the returns are all equal."""
    kept = batch.mask.bool()
    returns, values = batch.returns[kept], batch.values[kept]
    spread = returns.var().item() if len(returns) > 1 else 0.0
    return 1 - (returns - values).var().item() / spread if spread > 1e-12 else 0.0


def _mean(numbers: Sequence[float | None]) -> float:
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else float("nan")


def _device(policy: Policy) -> torch.device:
    return next(policy.trained.parameters()).device

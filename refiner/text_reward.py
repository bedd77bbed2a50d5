"""Reward models that read prompts and see no picture (BeautifulPrompt, 2311.06752, section 3.3). Heavy: imports torch.

They are learned from prompts whose pictures were scored once, and make reinforcement as cheap as reading. They cannot
know what a text does not tell; rewards from pictures are the alternative.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from core.errors import BadInput
from core.text import one_line
from refiner.folder import Manifest, read_manifest, writing
from refiner.lm import load_pretrained, load_tokenizer, merged, padded, vocabulary
from refiner.rewards import Episodes, RewardFunction, Rewards
from refiner.sampling import positions
from refiner.train_config import TrainConfig
from refiner.training import fit

KIND = "text-reward"
REWARDS = "rewards"
"""The folder of the models that a refiner's training learned, in the refiner's: one folder each, by scorer."""
_HEAD = "head.safetensors"
_CHUNK = 64


class Judged(NamedTuple):
    """A user's prompt, a refined one, and what a scorer gave its pictures."""

    prompt: str
    refined: str
    score: float


@dataclass(frozen=True)
class Reading:
    """What a text reward model reads.

    Attributes:
        template: with `{prompt}` (may be missing: beauty does not depend on it) and `{refined}`.
        max_tokens: longer texts are cut at their end.
    """

    template: str = "Input: {prompt}\nOutput: {refined}"
    max_tokens: int = 384

    def __post_init__(self) -> None:
        if "{refined}" not in self.template or self.max_tokens < 1:
            raise BadInput(f"text reward: got {self}, expected a template with {{refined}}, and max_tokens >= 1")

    def text(self, prompt: str, refined: str) -> str:
        """Return the template filled in; braces in prompts stay what they are."""
        before, after = (part.replace("{prompt}", prompt) for part in self.template.split("{refined}", 1))
        return before + refined + after


class TextReward(nn.Module):
    """A causal language model with a linear head on the last token's state."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, lm: Any, tokenizer: Any, reading: Reading) -> None:
        """Put a head that says 0 on a language model."""
        super().__init__()
        self.lm, self.tokenizer, self.reading = lm, tokenizer, reading
        self.head = nn.Linear(lm.get_input_embeddings().weight.shape[1], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return scores (n,) of filled-in templates, in standard deviations of the labels around their mean."""
        end = int(self.tokenizer.eos_token_id)
        rows = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        ids, mask = padded([[*row[: self.reading.max_tokens - 1], end] for row in rows], end, "right")
        ids, mask = ids.to(self.head.weight.device), mask.to(self.head.weight.device)
        out = self.lm(input_ids=ids, attention_mask=mask, position_ids=positions(mask), output_hidden_states=True)
        last = out.hidden_states[-1][torch.arange(len(rows)), mask.sum(dim=1) - 1]
        return self.head(last.float()).squeeze(-1)

    @torch.inference_mode()
    def scores(self, prompts: Sequence[str], refined: Sequence[str]) -> list[float]:
        """Return predicted scores in the units of the labels."""
        texts = [self.reading.text(prompt, text) for prompt, text in zip(prompts, refined, strict=True)]
        parts = [self(texts[start : start + _CHUNK]) for start in range(0, len(texts), _CHUNK)]
        return [value for part in parts for value in (self.mean + self.deviation * part).tolist()]


def train_text_reward(
    model: TextReward, rows: Sequence[Judged], config: TrainConfig, folder: Path, evaluation: Sequence[Judged] = ()
) -> list[dict[str, float]]:
    """Train a text reward model by squared error on standardised labels.

    Returns:
        What `refiner.training.fit` returns; losses are in variances of the labels: 1 is what a constant reaches.

    Raises:
        BadInput: fewer than two rows, or labels that are all equal; and as `fit`.
    """
    labels = torch.tensor([row.score for row in rows])
    if len(rows) < 2 or labels.std() == 0:
        raise BadInput(f"text reward: got {len(rows)} rows of one and the same score, expected different ones")
    model.mean, model.deviation = labels.mean(), labels.std()

    def loss(net: nn.Module, batch: Sequence[Judged]) -> tuple[Tensor, int]:
        found = net([model.reading.text(row.prompt, row.refined) for row in batch])
        wanted = (torch.tensor([row.score for row in batch]) - labels.mean()) / labels.std()
        return (found - wanted.to(found.device)).square().sum(), len(batch)

    what = {"vocabulary": vocabulary(model.tokenizer), **asdict(model.reading)}
    return fit(model, rows, loss, config, folder, evaluation=evaluation, what=what)


def text_rewards(models: Mapping[str, TextReward], reference: Callable[[str], str]) -> RewardFunction:
    """Return a reward for PPO: by model, the refined prompt's predicted score less the reference's.

    Args:
        models: by the scorer's name that they stand for.
        reference: from a user's prompt to what it is compared with: the data's own refined prompt (BeautifulPrompt), or
            the prompt itself.
    """

    def reward(episodes: Episodes) -> Rewards:
        others = [reference(prompt) for prompt in episodes.prompts]
        return {
            name: [
                mine - its
                for mine, its in zip(
                    model.scores(episodes.prompts, episodes.refined),
                    model.scores(episodes.prompts, others),
                    strict=True,
                )
            ]
            for name, model in models.items()
        }

    return reward


def save_text_reward(folder: Path, model: TextReward, manifest: Manifest) -> None:
    """Write a text reward model's folder; see `refiner.folder.writing`.

    Raises:
        BadInput: the folder holds something else, or cannot be written.
    """
    with writing(folder, replace(manifest, kind=KIND, settings=asdict(model.reading))) as place:
        merged(model.lm).save_pretrained(place)
        model.tokenizer.save_pretrained(place)
        head = {"weight": model.head.weight, "bias": model.head.bias, "mean": model.mean, "deviation": model.deviation}
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in head.items()}, place / _HEAD)


def save_text_rewards(folder: Path, models: Mapping[str, TextReward], manifest: Manifest) -> None:
    """Keep text reward models in the folder of the refiner that was trained by them, as `rewards/NAME`.

    Args:
        folder: the finished refiner's.
        models: by the scorer's name that they stand for; a slash in it becomes a hyphen.
        manifest: the refiner's.

    Raises:
        BadInput: as `save_text_reward`.
    """
    for name, model in models.items():
        label = f"scores of {name}, read off prompts; learned for: {manifest.label}"
        save_text_reward(folder / REWARDS / name.replace("/", "-"), model, replace(manifest, label=label))


def load_text_rewards(folder: Path) -> dict[str, TextReward]:
    """Return the text reward models that a refiner's folder keeps, by name; none is an empty dict.

    Raises:
        BadInput: as `load_text_reward`.
    """
    places = sorted((folder / REWARDS).iterdir()) if (folder / REWARDS).is_dir() else []
    return {place.name: load_text_reward(place) for place in places}


def load_text_reward(folder: Path) -> TextReward:
    """Return a text reward model from its folder, in eval mode.

    Raises:
        BadInput: it is none, or its files do not load.
    """
    manifest = read_manifest(folder)
    if manifest.kind != KIND:
        raise BadInput(f"{folder}: got a {manifest.kind!r}, expected a text reward model's folder; check the path")
    lm, tokenizer = load_pretrained(AutoModelForCausalLM, str(folder)), load_tokenizer(str(folder))
    try:
        model = TextReward(lm, tokenizer, Reading(manifest.settings["template"], manifest.settings["max_tokens"]))
        found = load_file(folder / _HEAD)
        model.head.load_state_dict({"weight": found["weight"], "bias": found["bias"]})
        model.mean, model.deviation = found["mean"], found["deviation"]
    except (OSError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadInput(f"{folder}: got files that do not load ({one_line(error)}), copy it anew") from error
    return model.eval().requires_grad_(False)

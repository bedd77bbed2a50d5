"""What a reward is to PPO: a callable over episodes, several scorers, one mixed number an episode.

The callable is built elsewhere (it renders and scores); here are its types and the mixing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import BadInput


@dataclass(frozen=True)
class Episodes:
    """What a reward judges.

    Attributes:
        prompts: the users' prompts; pictures are scored against these.
        refined: what the policy made of them, whole prompts ready to be drawn.
        seed: of this training step; diffusion seeds are to be derived from it, so that each step sees fresh ones.
    """

    prompts: Sequence[str]
    refined: Sequence[str]
    seed: int


Rewards = Mapping[str, Sequence[float | None]]
"""By scorer, one number an episode: score(pictures of the refined prompt) - score(pictures of the user's prompt), each
against the user's prompt. None where a picture or a score failed."""

RewardFunction = Callable[[Episodes], Rewards]


def check_weights(weights: Mapping[str, float], scorers: Iterable[str]) -> None:
    """Raise BadInput where a weight is given to something that is no scorer of the reward."""
    known = list(scorers)
    if missing := [name for name in weights if name not in known]:
        raise BadInput(
            f"reward weights: got {', '.join(missing)}, expected scorers of the reward ({', '.join(known)}); "
            "correct the weights"
        )


@dataclass
class RewardMix:
    """Weights for several scorers whose units differ: each is divided by its own standard deviation before.

    The deviation is that of the first `calibration` episodes and is then kept, so that the objective stands still. The
    mean is not subtracted: 0 means "as good as the user's own prompt" and stays 0.

    Attributes:
        weights: by scorer; empty = equal weights over whatever the reward gives. They are made to sum to 1.
        calibration: episodes that decide the deviations; 0 = raw numbers, no division.
        moments: by scorer (count, mean, sum of squared deviations); part of a checkpoint.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    calibration: int = 256
    moments: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def mix(self, rewards: Rewards) -> list[float | None]:
        """Return one number an episode; None when any scorer of the mix has none for it.

        Raises:
            BadInput: the reward lacks a scorer that has a weight, or gave numbers for another count of episodes.
        """
        check_weights(self.weights, rewards)
        names = list(self.weights or rewards)
        if len({len(rewards[name]) for name in names}) != 1:
            raise BadInput(
                "reward: got scorers with different numbers of episodes, expected one number an episode each"
            )
        rewards = {name: [_finite(value) for value in rewards[name]] for name in names}
        for name in names:
            self._learn(name, rewards[name])
        total = sum(abs(self.weights.get(name, 1.0)) for name in names)
        factors = [self.weights.get(name, 1.0) / total / self.deviation(name) for name in names]
        rows = zip(*rewards.values(), strict=True)
        return [_weighted(row, factors) for row in rows]

    def deviation(self, scorer: str) -> float:
        """Return what a scorer's numbers are divided by; 1 while fewer than two are known, or all were equal."""
        count, _, squares = self.moments.get(scorer, (0, 0.0, 0.0))
        spread = math.sqrt(squares / (count - 1)) if count > 1 else 0.0
        return spread if spread > 1e-9 and self.calibration else 1.0

    def _learn(self, scorer: str, values: Sequence[float | None]) -> None:
        count, mean, squares = self.moments.get(scorer, (0, 0.0, 0.0))
        for value in values:
            if value is not None and count < self.calibration:  # Welford's update
                count += 1
                step = value - mean
                mean += step / count
                squares += step * (value - mean)
        self.moments[scorer] = (count, mean, squares)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _weighted(row: Sequence[float | None], factors: Sequence[float]) -> float | None:
    known = [value for value in row if value is not None]
    if len(known) < len(row):
        return None
    return sum(factor * value for factor, value in zip(factors, known, strict=True))

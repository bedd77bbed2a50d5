"""The plain records that travel between packages. All are frozen; none holds a tensor or a client."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL.Image import Image

NAIVE = "naive"
"""Id of arm 0, the identity refiner: the user's own prompt, on the same blocks as every other arm."""


@dataclass(frozen=True)
class Prompt:
    """A naive prompt of a run. `group` is a free label (the style family in the miniworld), "" when unknown."""

    id: str
    text: str
    split: str
    group: str = ""


@dataclass(frozen=True)
class Block:
    """The unit on which arms are compared: one naive prompt and one diffusion seed.

    `batch` and `place` say where it stands in its split's random sequence; an arm's k-th pull meets batch k.
    `replicate` tells apart the independent refinements of one prompt by one arm (the epoch, in the train split).
    """

    id: str
    prompt_id: str
    seed: int
    split: str
    batch: int
    place: int
    replicate: int = 0


@dataclass(frozen=True)
class Instruction:
    """An arm of the bandit: a text that tells the Generator how to refine a prompt.

    `id` is a function of (round, child): `r2c1` is the first child born in round 2. `origin` says who wrote it:
    `naive`, `initial`, `user`, `frequent`, `modifier`.
    """

    id: str
    text: str
    parent: str = ""
    round: int = 0
    child: int = 0
    origin: str = "modifier"


@dataclass(frozen=True)
class Pull:
    """A play of one arm on one batch of blocks. `id` is `r{round}p{k}`."""

    id: str
    arm: str
    batch: int


@dataclass(frozen=True)
class Refinement:
    """What a refiner made of one naive prompt: `text`, or `error` when it failed (then `text` is "").

    `negative` says what the picture must not show; "" when the refiner writes no negative prompts.
    """

    naive: str
    text: str = ""
    error: str = ""
    negative: str = ""


@dataclass(frozen=True)
class RenderRequest:
    """One picture to draw. The seed is part of the request, so the result does not depend on its place in a batch."""

    prompt: str
    seed: int
    negative_prompt: str = ""


@dataclass(frozen=True)
class UnreadEnd:
    """The end of a prompt that no text encoder reads, as text and in tokens; "" and 0 when all of it is read."""

    text: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class RenderResult:
    """A drawn picture, or the reason why there is none."""

    image: Image | None
    error: str = ""


@dataclass(frozen=True)
class ScoreItem:
    """A picture and the text it is judged against: always the user's naive prompt, never the refined one."""

    image: Image
    prompt: str


@dataclass(frozen=True)
class Score:
    """A raw scorer value (HPSv2: cosine in [-1, 1]), or an error (NaN and infinities are errors)."""

    value: float | None
    error: str = ""


@dataclass(frozen=True)
class Message:
    """One chat message; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True)
class Completion:
    """A chat model's reply. `usd` is None when the price is unknown, never 0. `seconds` is wall time of the call."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    finish_reason: str = "stop"
    cached: bool = False


@dataclass(frozen=True)
class ScoredPrompt:
    """One result as the Gradient Calculator sees it. `reward` is paired: score minus the naive prompt's, same block.

    `arm` and `block` are ids, so that contrasts within one block (against other arms, against naive) can be preferred.
    """

    naive: str
    refined: str
    reward: float
    arm: str
    block: str
    negative: str = ""


@dataclass(frozen=True)
class TextualGradient:
    """Words that say why the good prompts of a batch beat the bad ones (2406.08713, section 3.1)."""

    text: str


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided 95 % interval over `n` units of replication (prompts, unless said otherwise)."""

    mean: float
    ci95: tuple[float, float]
    n: int = 0

    def to_json(self) -> Mapping[str, object]:
        """Return the summary's form: mean, ci95, and n."""
        return {"mean": self.mean, "ci95": list(self.ci95), "n": self.n}


@dataclass(frozen=True)
class ChatRequest:
    """Everything that determines a reply, and so its cache key.

    `replicate` tells apart calls that are meant to be independent samples of the same messages.
    """

    messages: tuple[Message, ...]
    replicate: int = 0
    temperature: float = 0.7
    max_tokens: int = 600
    json_schema: Mapping[str, object] | None = field(default=None, hash=False)

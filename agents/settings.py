"""Settings of the agents: how each role is sampled and how much it is shown."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sampling:
    """How one role's replies are sampled."""

    temperature: float
    max_tokens: int


@dataclass(frozen=True)
class AgentSettings:
    """Settings of the three roles; all of them change replies and so belong to a run's config.

    Attributes:
        contrasts: most contrasts that the Gradient Calculator is shown.
        examples: most professional prompts that a role is shown.
        keep: what a refined prompt must keep of the naive one: `verbatim`, `content-words` or `off`.
        max_prompt_chars: longest refined prompt.
        max_instruction_chars: longest instruction.
        leak_ngram: an instruction may not share so many consecutive words with a training prompt.
        window: tokens of a prompt that the text-to-image model reads; None is unknown.
        negative: whether the Generator may also write a negative prompt, and instructions say what goes into it.
    """

    generator: Sampling = field(default_factory=lambda: Sampling(0.7, 400))
    gradient: Sampling = field(default_factory=lambda: Sampling(0.3, 1200))
    modifier: Sampling = field(default_factory=lambda: Sampling(0.9, 2400))
    contrasts: int = 40
    examples: int = 8
    keep: str = "content-words"
    max_prompt_chars: int = 600
    max_instruction_chars: int = 2500
    leak_ngram: int = 4
    negative: bool = False
    window: int | None = None


def settings_for(model: str) -> AgentSettings:
    """Return the default settings for a model: the offline agents read every result there is, an LLM the best 40."""
    if model.startswith("offline/"):
        return AgentSettings(contrasts=2000, examples=24)
    return AgentSettings()

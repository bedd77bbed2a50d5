"""How a causal language model is asked for a refined prompt, and how its answer is read. Imports no torch.

One template serves training and answering. (BeautifulPrompt's code trained with a space behind "Output:" and answered
without; it also cut its end token off by characters, which ate a last "s".)
"""

from dataclasses import dataclass, field
from typing import Any

from core.errors import BadInput
from refiner.answer import join, stem, tidy
from refiner.constraints import Wishes
from refiner.neurologic_config import NeuroLogic
from refiner.settings import changed

_SLOT = "{prompt}"


@dataclass(frozen=True)
class Generation:
    """Writing one token after the other; the defaults are greedy.

    Attributes:
        max_new_tokens: longest answer.
        repetition_penalty: divides the logits of tokens that were read or written before; 1 = off.
        no_repeat_ngram: no run of so many tokens occurs twice; 0 = off.
        sample: draw instead of taking the likeliest; the draws are a function of prompt and seed alone.
        temperature: divides the logits when drawing.
        top_k: draw from so many likeliest tokens; 0 = all.
        top_p: draw from the likeliest tokens that together have this probability.
    """

    max_new_tokens: int = 77
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.95

    def __post_init__(self) -> None:
        positive = min(self.max_new_tokens, self.repetition_penalty, self.temperature, self.top_p) > 0
        if not positive or self.top_p > 1 or min(self.top_k, self.no_repeat_ngram) < 0:
            raise BadInput(
                f"generation: got {self}, expected max_new_tokens, repetition_penalty, temperature and top_p over 0, "
                "top_p at most 1, top_k and no_repeat_ngram at least 0"
            )


@dataclass(frozen=True)
class Prompting:
    """What a causal refiner is.

    Attributes:
        template: what the model reads; `{prompt}` stands for the user's prompt, in one line and without the
            punctuation at its end.
        continues: the answer goes on from the user's prompt instead of replacing it. Then the template has to end
            with `{prompt},`, and the user's words are kept by construction.
        generation: how an answer is written when there is no `search`.
        search: beam search; without one, wishes are met by a search with the defaults.
        wishes: what every answer is asked to hold.
        min_kept: share of the user's content words that an answer must keep, else it fails; 0 as in the papers.
    """

    template: str
    continues: bool = False
    generation: Generation = field(default_factory=Generation)
    search: NeuroLogic | None = None
    wishes: Wishes = field(default_factory=Wishes)
    min_kept: float = 0.0

    def __post_init__(self) -> None:
        if self.template.count(_SLOT) != 1 or (self.continues and not self.template.endswith(f"{_SLOT},")):
            raise BadInput(
                f"template: got {self.template!r}, expected {_SLOT} in it once, and {_SLOT}, at its end if the answer "
                "continues the prompt"
            )

    def source(self, prompt: str) -> str:
        """Return what the model reads."""
        return self.template.replace(_SLOT, stem(prompt))

    def target(self, low: str, high: str) -> str:
        """Return what the model learns to write after `source(low)`.

        Raises:
            BadInput: the answer continues the prompt, but `high` does not begin with `low`.
        """
        if not self.continues:
            return f" {tidy(high)}"
        whole, begun = " ".join(high.split()), stem(low)
        if not whole.startswith(begun):
            raise BadInput(f"pair: got {high!r:.60} for {low!r:.60}, expected a prompt that goes on from the other")
        return f" {tidy(whole[len(begun) :])}"

    def result(self, prompt: str, answer: str) -> str:
        """Return the whole refined prompt from what the model wrote; "" if that is nothing and replaces the prompt."""
        return join(prompt, answer) if self.continues else tidy(answer)


_PUNCTUATION = "?:'\"—-_@\n()[]{}"
"""What NeuroPrompts' demo bars; there, terms with a hyphen can then not be written, here they can."""

STYLES: dict[str, Prompting] = {
    "beautifulprompt": Prompting(
        "Instruction: Give a simple description of the image to generate a drawing prompt.\nInput: {prompt}\nOutput:",
        generation=Generation(max_new_tokens=256, repetition_penalty=1.2),
    ),
    "neuroprompts": Prompting("{prompt},", continues=True, search=NeuroLogic(blocked=_PUNCTUATION)),
    "promptist": Prompting(
        "{prompt} Rephrase:",
        generation=Generation(max_new_tokens=75),
        search=NeuroLogic(beam=8, max_tokens=75, min_tokens=1, length_penalty=-1.0, no_repeat_ngram=0),
    ),
}
"""The papers' templates and decoding. BeautifulPrompt: greedy with repetition penalty 1.2 (alibaba/EasyNLP, `eval.py`;
answers as long as in its PPO). NeuroPrompts: beam search, five wide, with or without constraints (IntelLabs, `app.py`).
Promptist: beam search, eight wide, length penalty -1 (microsoft/LMOps, README). Rew-Syn and Rew-Log, the baselines of
PRIP, are Promptist's form on other pairs (2407.00247, section 4.2)."""


def prompting_of(settings: Any, where: str) -> Prompting:
    """Return what a manifest's settings say: `{"style": NAME, ...}`, the rest being changes to that style.

    Raises:
        BadInput: an unknown style, key or value; `where` names the file.
    """
    if not isinstance(settings, dict) or settings.get("style") not in STYLES:
        raise BadInput(f"{where}: got settings {settings!r:.60}, expected a style out of {', '.join(STYLES)}")
    changes = {key: value for key, value in settings.items() if key != "style"}
    return changed(STYLES[settings["style"]], changes, f"{where}: settings")

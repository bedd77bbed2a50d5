"""The Gradient Calculator: says in words why good prompts beat bad ones (2406.08713, section 3.1)."""

from collections.abc import Sequence

from agents.contrasts import select_contrasts, write_results
from agents.guards import without_keep_tags
from agents.messages import Templates, example_section, section
from agents.replies import GradientReply, ask, looks_refused
from agents.settings import AgentSettings
from core.errors import AgentFailure
from core.interfaces import ChatModel
from core.records import ScoredPrompt, TextualGradient

MAX_GRADIENT_CHARS = 12_000


class LLMGradientCalculator:
    """A GradientCalculator that is an LLM."""

    def __init__(self, chat: ChatModel, *, templates: Templates, settings: AgentSettings | None = None) -> None:
        self._chat = chat
        self._templates = templates
        self._settings = settings or AgentSettings()

    async def critique(
        self,
        instruction: str,
        scored: Sequence[ScoredPrompt],
        exemplars: Sequence[str],
        *,
        seed: int,
        arm: str = "",
    ) -> TextualGradient:
        """Contrast the results of `arm` (default: the arm of the first result) and put the reasons into words.

        `scored` may hold results of all arms of the run so far: the more, the better founded the gradient.

        Raises:
            AgentFailure: there is nothing to contrast, or no usable reply.
            ProviderError: from the chat model.
        """
        subject = arm or (scored[0].arm if scored else "")
        contrasts = select_contrasts(scored, subject, self._settings.contrasts)
        if not contrasts:
            raise AgentFailure("empty", "there are no scored prompts to contrast yet")
        values = {
            "instruction": section("instruction", without_keep_tags(instruction)),
            "results": section("results", write_results(contrasts, subject)),
            "examples": example_section(exemplars[: self._settings.examples]),
        }
        return await ask(
            self._chat,
            self._templates.fill("gradient", values),
            GradientReply,
            _check,
            sampling=self._settings.gradient,
            replicate=seed,
        )


def _check(reply: GradientReply) -> TextualGradient:
    text = reply.gradient.strip()
    if not text:
        raise AgentFailure("empty", "the gradient is empty")
    if looks_refused(text):
        raise AgentFailure("refused", "the gradient is an apology of the model")
    if len(text) > MAX_GRADIENT_CHARS:
        raise AgentFailure(
            "too-long", f"the gradient has {len(text)} characters, at most {MAX_GRADIENT_CHARS} are allowed"
        )
    return TextualGradient(text)

"""The Generator: refines naive prompts under one instruction (2406.08713, section 3.1). And arm 0, the identity."""

import asyncio
from collections.abc import Callable, Sequence

from agents.guards import KEEP_RULES, check_keep_rule, require_subject, require_wanted, without_keep_tags
from agents.messages import Templates, example_section, one_line, section
from agents.replies import PromptReply, PromptsReply, ask, looks_refused
from agents.settings import AgentSettings
from core.errors import AgentFailure
from core.interfaces import ChatModel
from core.records import Message, Refinement

_NEGATIVE_RULE = (
    "You may also write a negative prompt: short phrases for what the picture must not look like. Then answer"
    ' {"prompt": "the refined prompt", "negative_prompt": "the negative prompt"}.'
)

CHARS_A_TOKEN = 4
"""Of English, about; a window is told only when a prompt of the allowed length could be longer."""

Exemplars = Callable[[str], Sequence[str]]
"""Retrieves professional prompts for a naive prompt."""


def no_exemplars(naive_prompt: str) -> list[str]:  # noqa: ARG001 - the shape of Exemplars
    """Retrieve nothing."""
    return []


class IdentityRefiner:
    """Arm 0: the user's own prompt, unchanged."""

    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:  # noqa: ARG002
        """Return every prompt as it is."""
        return [Refinement(naive=text, text=text) for text in prompts]


class LLMRefiner:
    """A Refiner that is an LLM with an instruction and professional exemplars."""

    def __init__(
        self,
        chat: ChatModel,
        instruction: str,
        *,
        templates: Templates,
        exemplars: Exemplars = no_exemplars,
        settings: AgentSettings | None = None,
    ) -> None:
        self._chat = chat
        self._instruction = without_keep_tags(instruction)
        self._templates = templates
        self._exemplars = exemplars
        self._settings = settings or AgentSettings()
        check_keep_rule(self._settings.keep)
        self.schema: type[PromptReply] = PromptsReply if self._settings.negative else PromptReply

    async def refine(self, prompts: Sequence[str], *, seed: int) -> list[Refinement]:
        """Refine every prompt with one chat call each, all at once (the chat model bounds the concurrency).

        Raises:
            ProviderError: the provider refused or stayed unreachable; replies that came in by then are in the cache.
        """
        results = await asyncio.gather(*(self._one(text, seed) for text in prompts), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Refinement)]

    def messages(self, naive_prompt: str) -> tuple[Message, ...]:
        """Return exactly what the chat model is told for this prompt."""
        settings = self._settings
        rules = f"{KEEP_RULES[settings.keep]} It has at most {settings.max_prompt_chars} characters and is one line."
        if settings.window is not None and settings.max_prompt_chars > CHARS_A_TOKEN * settings.window:
            rules += f" {_window_rule(settings.window)}"
        if settings.negative:
            rules += f" {_NEGATIVE_RULE}"
        exemplars = list(self._exemplars(naive_prompt))[: settings.examples]
        values = {
            "instruction": section("instruction", self._instruction),
            "examples": example_section(exemplars),
            "prompt": section("prompt", one_line(naive_prompt)),
            "rules": section("rules", rules),
        }
        return self._templates.fill("generator", values)

    async def _one(self, naive_prompt: str, seed: int) -> Refinement:
        try:
            return await ask(
                self._chat,
                self.messages(naive_prompt),
                self.schema,
                lambda reply: self._check(naive_prompt, reply),
                sampling=self._settings.generator,
                replicate=seed,
            )
        except AgentFailure as failure:
            return Refinement(naive=naive_prompt, error=str(failure))

    def _check(self, naive_prompt: str, reply: PromptReply) -> Refinement:
        text = one_line(reply.prompt)
        negative = one_line(reply.negative_prompt) if isinstance(reply, PromptsReply) else ""
        if not text:
            raise AgentFailure("empty", "the refined prompt is empty")
        if any(looks_refused(part) for part in (text, negative)) and not looks_refused(naive_prompt):
            raise AgentFailure("refused", "the refined prompt is an apology of the model")
        limit = self._settings.max_prompt_chars
        for what, part in (("refined", text), ("negative", negative)):
            if len(part) > limit:
                raise AgentFailure(
                    "too-long", f"the {what} prompt has {len(part)} characters, at most {limit} are allowed"
                )
        require_subject(naive_prompt, text, self._settings.keep)
        require_wanted(naive_prompt, negative, self._settings.keep)
        return Refinement(naive_prompt, text, negative=negative)


def _window_rule(tokens: int) -> str:
    return (
        f"The text encoder reads about {tokens} tokens (roughly {tokens * 3 // 4} words); what comes later is not seen."
    )

"""The Instruction Modifier: writes better instructions from a textual gradient (2406.08713, section 3.1)."""

from collections.abc import Sequence

from agents.guards import check_instruction, kept_parts
from agents.messages import Templates, example_section, one_line, section
from agents.replies import InstructionsReply, ask, looks_refused
from agents.settings import AgentSettings
from core.errors import AgentFailure
from core.interfaces import ChatModel
from core.records import TextualGradient


class LLMInstructionModifier:
    """An InstructionModifier that is an LLM. Proposals that break a rule are dropped; none left is a failure."""

    def __init__(
        self,
        chat: ChatModel,
        *,
        templates: Templates,
        training_prompts: Sequence[str] = (),
        settings: AgentSettings | None = None,
    ) -> None:
        self._chat = chat
        self._templates = templates
        self._training = tuple(training_prompts)
        self._settings = settings or AgentSettings()

    async def propose(
        self, instruction: str, gradient: TextualGradient, exemplars: Sequence[str], n: int, *, seed: int
    ) -> list[str]:
        """Return one to `n` new instructions, distinct from each other and from `instruction`.

        Raises:
            AgentFailure: no proposal of two replies was usable; its kind is that of the last rejected one.
            ProviderError: from the chat model.
        """
        values = {
            "instruction": section("instruction", instruction),
            "gradient": section("gradient", gradient.text),
            "examples": example_section(exemplars[: self._settings.examples]),
            "rules": section("rules", self._rules(instruction)),
            "count": str(n),
        }
        return await ask(
            self._chat,
            self._templates.fill("modifier", values),
            InstructionsReply,
            lambda reply: self._check(instruction, reply, n),
            sampling=self._settings.modifier,
            replicate=seed,
        )

    def _rules(self, instruction: str) -> str:
        rules = [f"Each instruction has at most {self._settings.max_instruction_chars} characters."]
        if kept_parts(instruction):
            rules.append(
                "Copy every part between <keep> and </keep> exactly as it is, tags included, in the same order."
            )
        if self._settings.negative:
            rules.append(
                "An instruction may also say what the negative prompt lists: what pictures must not look like."
            )
        rules.append("Never copy a user's prompt into an instruction.")
        return " ".join(rules)

    def _check(self, parent: str, reply: InstructionsReply, n: int) -> list[str]:
        accepted: dict[str, str] = {}
        failure = AgentFailure("empty", "there is no new instruction in the reply")
        for proposal in reply.instructions:
            text = proposal.strip()
            identity = one_line(text).casefold()
            if identity == one_line(parent).casefold() or identity in accepted:
                continue
            if looks_refused(text):
                failure = AgentFailure("refused", "an instruction is an apology of the model")
                continue
            try:
                check_instruction(
                    text,
                    parent,
                    self._training,
                    max_chars=self._settings.max_instruction_chars,
                    n=self._settings.leak_ngram,
                )
            except AgentFailure as rejected:
                failure = rejected
                continue
            accepted[identity] = text
        if not accepted:
            raise failure
        return list(accepted.values())[:n]

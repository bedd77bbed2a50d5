"""What every export is made from: a finished run's facts, its instructions in order of merit, what they learned."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from agents.offline.model import OfflineChatModel
from agents.settings import settings_for
from core.records import ChatRequest
from experiments.config import RunConfig, parse_config
from experiments.evidence import Evidence, gather
from experiments.export.learned import Learned, learn
from experiments.folder import RunFolder, read_json
from experiments.refine import checked_prompt, open_refiner
from experiments.result import finished

PLACEHOLDER = "{prompt}"
_MARK = "\ue000"
"""Stands for the prompt while messages are built: a private-use character, so that no other text is taken for it."""


@dataclass(frozen=True)
class Source:
    """A finished run and what was asked of its export.

    Attributes:
        folder: the run.
        found: its instruction set (`instructions.json`).
        summary: its result (`summary.json`).
        config: its configuration.
        top: how many instructions were asked for; None: the format's default.
        prompt: the naive prompt to fill in; None: a placeholder.
        notes: filled on the way: what differs from the run.
    """

    folder: RunFolder
    found: dict[str, Any]
    summary: dict[str, Any]
    config: RunConfig
    top: int | None = None
    prompt: str | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def evidence(self) -> Evidence:
        """The run's facts."""
        return gather(self.folder, self.config, self.found["scorer"])

    @cached_property
    def ranked(self) -> Sequence[dict[str, Any]]:
        """The run's instructions: the best, other finalists by their validation, the rest by their mean reward."""

        def merit(arm: dict[str, Any]) -> tuple[bool, bool, float, str]:
            validated = self.evidence.estimate(self.evidence.rewards("validation", arm["id"]))
            mean = validated.mean if validated else arm["mean"]
            worth = float("inf") if mean is None else -mean
            return arm["id"] != self.found["best"], validated is None, worth, arm["id"]

        return sorted(self.found["instructions"], key=merit)

    @property
    def chosen(self) -> Sequence[dict[str, Any]]:
        """The instructions to export, best first."""
        return self.ranked[: self.top or 1]

    @property
    def best(self) -> dict[str, Any]:
        """The run's best instruction."""
        return self.ranked[0]

    def learned(self, arm: str) -> Learned:
        """Return what an instruction made the Generator add."""
        return learn(self.evidence, arm)

    def request(self, arm: str, *, placeholder: str = PLACEHOLDER) -> dict[str, Any]:
        """Return exactly what the LLM is told when an instruction refines the prompt, as a chat completion's body.

        Without a prompt there is a placeholder, the exemplars are those of all training prompts together, and there is
        no seed: in the run both depend on the prompt.
        """
        from agents.openai_chat import request_body

        agents = self.config.agents
        train = [prompt.text for prompt in self.evidence.prompts.values() if prompt.split == "train"]
        shown_for = train if self.prompt is None else ()
        instruction, chat = self.evidence.instructions[arm], OfflineChatModel()  # nothing is asked here
        with open_refiner(self.folder, self.config, agents, instruction, chat, shown_for=shown_for) as opened:
            messages = opened.refiner.messages(_MARK if self.prompt is None else self.prompt)
            schema = opened.refiner.schema.model_json_schema()
        self.notes.extend(opened.notes)
        sampling, seed = settings_for(agents.llm).generator, opened.seed(self.prompt or "")
        request = ChatRequest(messages, seed, sampling.temperature, sampling.max_tokens, schema)
        official = agents.llm.startswith("openai/") and agents.api_base is None
        body = request_body(agents.llm.removeprefix("openai/"), request, official=official)
        if self.prompt is None:
            del body["seed"]
        for message in body["messages"]:
            message["content"] = message["content"].replace(_MARK, placeholder)
        return body


def open_source(folder: RunFolder, *, top: int | None = None, prompt: str | None = None) -> Source:
    """Open a finished run for its export.

    Raises:
        BadInput: no result yet, a damaged file, or an empty prompt.
    """
    found = finished(folder)
    summary = read_json(folder.summary_file)
    config = parse_config(summary["config"], source=str(folder.summary_file))
    return Source(folder, found, summary, config, top, None if prompt is None else checked_prompt(prompt))


def as_json(value: Any) -> str:
    """Return a file's text."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

"""Refining a row's prompts once: answers and what they cost are kept, so that no evaluation pays for them twice."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.records import Refinement
from core.text import digest
from experiments.answers import Row as Answer
from experiments.answers import answer_file
from experiments.folder import read_json, write_json
from experiments.suites.sources import Answering

WARM_UP = "a picture of something else"
_COUNTED = ("prompts", "seconds", "llm_calls", "tokens")


@dataclass
class Meter:
    """Counts what answers cost: CPU seconds of this process (after one warm-up answer of a model), calls, tokens.

    Attributes:
        answering: who answers.
        file: the counts so far, over all sessions.
    """

    answering: Answering
    file: Path
    spent: dict[str, float] = field(default_factory=dict)
    _warm: bool = False

    def __post_init__(self) -> None:
        self.spent = read_json(self.file) if self.file.is_file() else dict.fromkeys(_COUNTED, 0.0)

    def ask(self, prompts: Sequence[str]) -> Sequence[Sequence[Refinement]]:
        """Answer and count."""
        ask, calls = self.answering.source.ask, self.answering.calls
        if not self._warm and calls is None:
            ask([WARM_UP])
        self._warm = True
        asked, tokens = (calls.calls, calls.tokens) if calls else (0, 0)
        began = time.process_time()
        found = ask(prompts)
        self.spent["seconds"] += time.process_time() - began
        self.spent["prompts"] += len(prompts)
        if calls:
            self.spent["llm_calls"] += calls.calls - asked
            self.spent["tokens"] += calls.tokens - tokens
        write_json(self.file, self.spent)
        return found

    def each(self) -> dict[str, float]:
        """Return what one prompt cost."""
        prompts = self.spent["prompts"] or 1
        return {name: self.spent[name] / prompts for name in _COUNTED[1:]}


def answered(
    folder: Path, answering: Answering, prompts: Sequence[str], tell: Callable[[int], None]
) -> tuple[list[Answer], dict[str, float]]:
    """Return the answers to prompts, and what one of them cost.

    Args:
        folder: where answers are kept, under digests of who answers what.
        answering: who answers.
        prompts: naive prompts.
        tell: told how many prompts are answered.
    """
    key = digest([answering.source.identity, list(prompts)])
    meter = Meter(answering, folder / f"{key}.cost.json")
    folder.mkdir(parents=True, exist_ok=True)
    source = replace(answering.source, ask=meter.ask)
    return answer_file(folder / f"{key}.jsonl", source, prompts, tell), meter.each()

"""The benchmark of the loop's overhead counts the unavoidable work right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.loop_overhead import SleepingRenderer, SleepingScorer, measure
from core.records import RenderRequest, RenderResult

pytestmark = pytest.mark.slow

SECTIONS = {
    "run": {"rounds": 2, "batch_size": 8, "pulls_per_round": 2},
    "evaluation": {"validation_prompts": 16, "test_prompts": 20, "test_seeds": 1, "top": 1},
}


@dataclass
class CountingRenderer(SleepingRenderer):
    chunks: int = 0

    def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        self.chunks += 1
        return super().render(requests)


def test_unavoidable_work_is_what_the_models_really_did(tmp_path: Path) -> None:
    renderer = CountingRenderer(size=32, seconds=0.05)
    found = measure(tmp_path, 0.04, renderer=renderer, scorer=SleepingScorer(seconds=0.01), sections=SECTIONS)
    assert found.render == pytest.approx(0.05 * renderer.chunks), "the loop draws no chunk more than it has to"
    waves = found.llm / 0.04
    assert waves == pytest.approx(round(waves))
    # four pulls of one wave each, an expansion of two calls, a finalist on 16 prompts (2 waves), and the test of two or
    # three instructions on 20 prompts (3 waves each)
    assert round(waves) in {4 + 2 + 2 + 6, 4 + 2 + 2 + 9}
    assert 0.9 < found.overhead < 5
    assert 0 < found.cpu < found.loop
    assert found.unavoidable == pytest.approx(found.llm + found.render + found.score)

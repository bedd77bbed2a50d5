"""Mean and deviation of a scorer over pictures of naive prompts."""

import pytest

from benchmarks.reference_scores import draw, naive_prompts, reference
from tests.agents.stub_world import FAMILIES
from tests.fakes import FakeRenderer, FakeScorer

pytestmark = pytest.mark.slow
PROMPTS = [f"a fox, {family}" for family in list(FAMILIES)[:3]]


def test_prompts_come_from_the_file_or_the_miniworld(tmp_path):
    file = tmp_path / "my.txt"
    file.write_text("a fox\n\n  a dog \na cat\n")
    assert naive_prompts(file, 2) == ["a fox", "a dog"]
    assert len(set(naive_prompts(None, 10))) == 10


def test_each_prompt_is_drawn_on_each_seed_and_scored_against_itself():
    renderer = FakeRenderer()
    items = list(draw(renderer, PROMPTS, 2))
    assert [item.prompt for item in items] == [prompt for prompt in PROMPTS for _ in range(2)]
    assert [request.seed for request in renderer.drawn] == [0, 1] * 3
    scorer = FakeScorer()
    values = [score.value for score in scorer.score(items)]
    mean = sum(values) / 6
    sd = (sum((value - mean) ** 2 for value in values) / 5) ** 0.5
    assert reference(scorer, items) == {"mean": pytest.approx(mean, rel=1e-3), "sd": pytest.approx(sd, rel=1e-3)}


def test_a_broken_renderer_gives_nothing_to_score():
    assert list(draw(FakeRenderer(broken=True), PROMPTS, 2)) == []

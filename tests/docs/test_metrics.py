"""Every number that training logs is defined in docs/metrics.md, and nothing else is."""

import re
from pathlib import Path

import pytest

from refiner.ppo import train
from refiner.ppo_config import PpoConfig
from refiner.rewards import Episodes, Rewards
from refiner.sft import SftPair, train_sft
from refiner.train_config import TrainConfig
from tests.refiner.test_ppo import causal
from tests.refiner.tiny import tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow
PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def defined() -> set[str]:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return set(rows)


def test_the_page_and_the_loops_agree(tmp_path: Path) -> None:
    def two_scorers(episodes: Episodes) -> Rewards:
        return {"a": [1.0] * len(episodes.prompts), "b": [0.5] * len(episodes.prompts)}

    small = PpoConfig(steps=1, batch_size=4, max_new_tokens=3)
    logged = set(train(causal(), ["red boat"], two_scorers, small, tmp_path / "ppo")[0])
    pairs = [SftPair("red", "boat")]
    config = TrainConfig(max_steps=1)
    logged |= set(train_sft(tiny_lm(), tiny_tokenizer(), pairs, config, tmp_path / "sft", evaluation=pairs)[0])
    logged = {"scores/NAME" if name.startswith("scores/") else name for name in logged}
    assert logged == defined()

"""Building and saving language models."""

from pathlib import Path

import pytest
import transformers

from refiner.folder import Manifest
from refiner.sft import save_causal
from tests.refiner.tiny import tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow


def test_saving_a_model_that_started_from_scratch_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers.utils.logging.enable_progress_bar()
    save_causal(tmp_path / "r", tiny_lm(), tiny_tokenizer(), Manifest("causal", "a toy", "CC0"))
    assert capsys.readouterr() == ("", "")

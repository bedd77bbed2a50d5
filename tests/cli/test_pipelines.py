"""Every architecture through the whole loop from the command line: tiny random weights, the miniworld's scorer."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Brushup
from tests.fixtures.tiny_pipelines import PIPELINES, save_pipeline

pytestmark = pytest.mark.slow

CONFIG = """
[run]
rounds = 2
batch_size = 2
children = 1
[evaluation]
validation_prompts = 4
test_prompts = 20
test_seeds = 1
top = 1
[render]
threads = 1
"""
SETTINGS = {
    "sd1": 'negative_prompt = "blurry"\nsampler = "EulerDiscrete"\n',
    "sd-turbo": 'negative_prompt = "blurry"\n',
    "flux": "true_guidance = 2.0\n",
}
CLASSES = {
    "sd1": "StableDiffusionPipeline",
    "sd-turbo": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
}


@pytest.mark.parametrize("name", PIPELINES)
def test_the_whole_loop(brushup: Brushup, tmp_path: Path, name: str) -> None:
    folder, config = save_pipeline(name, tmp_path / name), tmp_path / "run.toml"
    config.write_text(CONFIG + SETTINGS.get(name, ""), encoding="utf-8")
    home = tmp_path / "runs"
    done = brushup("optimize", config, "--renderer", folder, "--run", name, "--home", home, "--json")
    assert done.code == 0, done.err
    summary = json.loads((home / name / "summary.json").read_text(encoding="utf-8"))
    assert summary == done.json
    assert summary["renderer"]["settings"]["pipeline"] == CLASSES[name]
    assert summary["renderer"]["notes"][0] == "draws on cpu, float32: no CUDA device"
    assert "draws on cpu, float32: no CUDA device" in done.err
    assert [summary["holdout"][arm]["failed"] for arm in ("naive", "initial", "frequent", "best")] == [0] * 4
    assert summary["holdout"]["best_minus_naive"]["n"] == 20
    assert (home / name / "contact_sheet.png").is_file()
    useless = "render.negative_prompt is not read: guidance is 0, and only above 1 it has an effect"
    assert (useless in summary["warnings"]) is (name == "sd-turbo")

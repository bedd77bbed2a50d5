"""Whole runs on a rendering server: from the configuration to the summary, and through a server that goes away."""

import json
import time
from pathlib import Path

import pytest

import rendering.server
import scoring
from core.errors import BrushupError
from core.progress import Silent
from experiments.config import RunConfig
from experiments.folder import RunFolder
from experiments.run import run
from experiments.start import checked_config
from experiments.wiring import Models, load_models
from rendering.workflow import BUILT_IN
from tests.fakes import FakeScorer
from tests.fixtures.render_servers import A1111Server, ComfyUIServer, RenderServer
from tests.integration.world import stub_config, stub_folder

pytestmark = pytest.mark.slow

SMALL = {"rounds": 1, "batch_size": 3}
TEST = {"validation_prompts": 4, "test_prompts": 20, "test_seeds": 1, "top": 1}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering.server, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(scoring, "load_scorer", lambda spec, **_: FakeScorer())


def a1111_config(tmp: Path, server: RenderServer) -> RunConfig:
    render = {"renderer": f"a1111={server.url}", "width": 8, "height": 8, "sampler": "Euler a"}
    return stub_config(tmp, run=SMALL, evaluation=TEST, render=render)


def go(folder: RunFolder, config: RunConfig, models: Models) -> dict[str, object]:
    return run(folder, config, Silent(), started=time.time(), models=models)


def test_a_server_that_goes_away_costs_nothing_of_the_run(tmp_path: Path) -> None:
    with A1111Server() as server:
        config = a1111_config(tmp_path, server)
        models = load_models(config)
        whole = stub_folder(tmp_path, config, "whole")
        summary = go(whole, config, models)
        assert {body["sampler_name"] for body in server.drawn()} == {"Euler a"}
        drawn = len(server.drawn())
        assert drawn <= summary["ledger"]["renders"]

        other = stub_folder(tmp_path / "b", a1111_config(_made(tmp_path / "b"), server))
        broken = a1111_config(tmp_path / "b", server)
        server.faults.extend([*[""] * 12, *["reset"] * 3])
        with pytest.raises(BrushupError, match="cannot be reached"):
            go(other, broken, load_models(broken))
        again = go(other, broken, load_models(broken))
        assert again["holdout"] == summary["holdout"]
        assert other.instructions_file.read_bytes() == whole.instructions_file.read_bytes()
        assert len(server.drawn()) <= 2 * drawn + 3 + config.render.chunk


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_another_model_on_the_server_stops_a_resume(tmp_path: Path) -> None:
    with A1111Server() as server:
        config = a1111_config(tmp_path, server)
        folder = stub_folder(tmp_path, config)
        server.faults.extend([*[""] * 12, *["reset"] * 3])
        with pytest.raises(BrushupError, match="cannot be reached"):
            go(folder, config, load_models(config))
        server.options["sd_model_checkpoint"] = "xl.safetensors"
        with pytest.raises(BrushupError, match="the renderer is not the one this run began with"):
            go(folder, config, load_models(config))


def test_a_workflow_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {**BUILT_IN, "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "mine.safetensors"}}}
    (tmp_path / "w.json").write_text(json.dumps(graph))
    with ComfyUIServer() as server:
        (tmp_path / "run.toml").write_text(f'[render]\nrenderer = "comfyui={server.url}"\nworkflow = "w.json"\n')
        monkeypatch.chdir(tmp_path)
        config = checked_config(tmp_path / "runs", tmp_path / "run.toml", {})
        assert config.render.workflow == str(tmp_path / "w.json")
        assert config.render.renderer == f"comfyui={server.url}"
        assert load_models(config).renderer.model == "mine.safetensors"

"""A1111 and ComfyUI servers as renderers: what is sent, and every way in which a server can fail."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rendering.comfyui
import rendering.server
from core.errors import BadInput, BrushupError
from core.records import RenderRequest
from rendering import RenderSettings, load_renderer, render_key
from rendering.workflow import BUILT_IN
from tests.fixtures.render_servers import MARK, SERVERS, SHA, A1111Server, ComfyUIServer, RenderServer

pytestmark = pytest.mark.slow

SETTINGS = {"chunk": 4, "steps": 2, "guidance": 3.0, "width": 32, "height": 16}
CAT = RenderRequest("a red cat", 5)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering.server, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(rendering.comfyui, "POLL_SECONDS", 0.01)


@pytest.fixture
def a1111() -> Iterator[A1111Server]:
    with A1111Server() as server:
        yield server


@pytest.fixture
def comfyui() -> Iterator[ComfyUIServer]:
    with ComfyUIServer() as server:
        yield server


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, RenderServer]]:
    with SERVERS[request.param]() as running:
        yield request.param, running


def load(kind: str, running: RenderServer, **changes: object):
    return load_renderer(f"{kind}={running.url}", RenderSettings(**{**SETTINGS, **changes}))


def failed(renderer, *parts: str) -> None:
    """Assert that a picture fails in one line that holds the parts, and that the next one is drawn."""
    bad, good = renderer.render([CAT, CAT])
    assert bad.image is None
    assert "\n" not in bad.error
    assert len(bad.error) < 400
    for part in parts:
        assert part in bad.error, bad.error
    assert good.error == ""


def test_what_a1111_is_asked_for(a1111: A1111Server) -> None:
    renderer = load("a1111", a1111)
    assert renderer.revision == f"{SHA}:v1-5"
    assert renderer.settings["options"] == {"sd_vae": "Automatic", "CLIP_stop_at_last_layers": 1}
    renderer.render([CAT, RenderRequest("a dog", 6, "fog")])
    first, second = a1111.drawn()
    assert first == {
        "prompt": "a red cat",
        "negative_prompt": "",
        "seed": 5,
        "steps": 2,
        "cfg_scale": 3.0,
        "width": 32,
        "height": 16,
        "sampler_name": "Euler",
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
        "override_settings": {"sd_model_checkpoint": "v1-5.safetensors [6ce0161689]"},
    }
    assert (second["seed"], second["negative_prompt"]) == (6, "fog")


def test_a1111_defaults_checkpoint_and_sampler(a1111: A1111Server) -> None:
    plain = load_renderer(f"a1111={a1111.url}/")
    assert plain.settings.items() >= {"num_inference_steps": 20, "guidance_scale": 7.0, "width": 512}.items()
    other = load("a1111", a1111, checkpoint="xl", sampler="DPM++ 2M")
    assert (other.revision, other.sampler) == ("unknown:xl", "DPM++ 2M")
    other.render([CAT])
    assert a1111.drawn()[0]["override_settings"] == {"sd_model_checkpoint": "xl.safetensors"}


@pytest.mark.parametrize("change", [{"sd_vae": "vae.pt"}, {"CLIP_stop_at_last_layers": 2}])
def test_options_that_change_pictures_change_the_settings(a1111: A1111Server, change: dict[str, object]) -> None:
    before = load("a1111", a1111).settings
    a1111.options |= change
    assert load("a1111", a1111).settings != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "no"}, r"render.checkpoint: got 'no', expected one of the server's: v1-5, xl"),
        ({"sampler": "no"}, r"render.sampler: got 'no', expected .*Euler a"),
        ({"width": 30}, "multiple of 8"),
        ({"workflow": "x.json"}, "render.workflow is for comfyui"),
    ],
)
def test_a1111_settings_that_cannot_be_are_refused(a1111: A1111Server, change: dict, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load("a1111", a1111, **change)


def test_a1111_without_a_checkpoint_is_refused(a1111: A1111Server) -> None:
    a1111.options["sd_model_checkpoint"] = None
    with pytest.raises(BadInput, match="no checkpoint loaded"):
        load("a1111", a1111)


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("500", ("HTTP 500", f"CUDA out of memory {MARK}")),
        ("401", ("HTTP 401", "Incorrect username")),
        ("302", ("HTTP 302",)),
        ("html", ("not JSON",)),
        ("list", ("expected a JSON object",)),
        ("no-image", ("without a picture",)),
        ("no-base64", ("not base64",)),
        ("no-picture", ("not a picture",)),
        ("black", ("wholly black",)),
        ("seed", ("drew seed 7, not 5",)),
        ("model", ("drew with the model ffffffffff, not 6ce0161689",)),
    ],
)
def test_a_failed_a1111_picture_is_data(a1111: A1111Server, fault: str, parts: tuple[str, ...]) -> None:
    renderer = load("a1111", a1111)
    a1111.faults.append(fault)
    failed(renderer, *parts)
    assert all(path != "/elsewhere" for _, path, _ in a1111.requests), "no redirect is followed"


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("invalid", ("HTTP 400", f"Prompt outputs failed {MARK}")),
        ("500", ("HTTP 500",)),
        ("302", ("HTTP 302",)),
        ("html", ("not JSON",)),
        ("list", ("expected a JSON object",)),
        ("no-id", ("without a prompt_id", MARK)),
        ("odd-id", ("without a prompt_id",)),
        ("execution", (f"the workflow failed: CUDA out of memory {MARK} (node KSampler)",)),
        ("no-image", ("ended without a picture",)),
        ("lost", ("GET /view was answered with HTTP 404",)),
        ("no-picture", ("not a picture",)),
        ("black", ("wholly black",)),
    ],
)
def test_a_failed_comfyui_picture_is_data(comfyui: ComfyUIServer, fault: str, parts: tuple[str, ...]) -> None:
    renderer = load("comfyui", comfyui)
    comfyui.faults.append(fault)
    failed(renderer, *parts)
    assert all(path != "/elsewhere" for _, path, _ in comfyui.requests)


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_slow_answer_is_a_failed_picture_and_is_not_asked_for_again(server, fault: str) -> None:
    kind, running = server
    renderer = load(kind, running, timeout=0.3)
    running.faults.append(fault)
    [result] = renderer.render([CAT])
    assert "not answered within 0.3 s" in result.error
    assert len(running.drawn()) == 1


def test_a_workflow_that_never_ends_is_a_failed_picture(comfyui: ComfyUIServer) -> None:
    renderer = load("comfyui", comfyui, timeout=0.3)
    comfyui.faults.append("never")
    failed(renderer, "not finished within 0.3 s")


@pytest.mark.parametrize("fault", ["reset", "503"])
def test_lost_connections_and_busy_servers_are_asked_again(server, fault: str) -> None:
    kind, running = server
    renderer = load(kind, running)
    running.faults.extend([fault, fault])
    [result] = renderer.render([CAT])
    assert result.error == ""
    assert len(running.drawn()) == 3


def test_a_server_that_is_gone_ends_the_run_and_is_no_failed_picture(server) -> None:
    kind, running = server
    renderer = load(kind, running)
    running.faults.extend(["reset"] * 3)
    with pytest.raises(
        BrushupError, match=r"cannot be reached .*start the server again, then `brushup resume`"
    ) as caught:
        renderer.render([CAT])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_not_there_is_one_line(kind: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(BadInput, match=r"cannot be reached .*start the server") as caught:
        load_renderer(f"{kind}={address}")
    assert "\n" not in str(caught.value)


def test_another_server_is_one_line(a1111: A1111Server, comfyui: ComfyUIServer) -> None:
    with pytest.raises(BadInput, match=r"/sdapi/v1/options was answered with HTTP 404"):
        load("a1111", comfyui)
    with pytest.raises(BadInput, match=r"/system_stats was answered with HTTP 404: Not Found"):
        load("comfyui", a1111)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:7860", "ftp://x", "http://", "http://x/?a=1", "http://a:b:c", "file:///x"]
)
def test_bad_addresses_are_refused(address: str) -> None:
    with pytest.raises(BadInput, match="expected a server like"):
        load_renderer(f"a1111={address}")


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(BadInput, match="a password in it") as caught:
        load_renderer("a1111=http://me:geheim@127.0.0.1:1")
    assert "geheim" not in str(caught.value)


def test_proxies_of_the_environment_are_not_used(server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    kind, running = server
    assert load(kind, running).render([CAT])[0].error == ""


def test_what_comfyui_is_asked_for(comfyui: ComfyUIServer) -> None:
    renderer = load("comfyui", comfyui)
    renderer.render([RenderRequest("a red cat", 5, "fog")])
    [body] = comfyui.drawn()
    graph = body["prompt"]
    assert graph["4"]["inputs"]["ckpt_name"] == "sd15.safetensors"
    assert [graph[node]["inputs"]["text"] for node in ("6", "7")] == ["a red cat", "fog"]
    assert graph["5"]["inputs"] == {"width": 32, "height": 16, "batch_size": 1}
    assert graph["3"]["inputs"].items() >= {"seed": 5, "steps": 2, "cfg": 3.0, "sampler_name": "euler"}.items()
    assert BUILT_IN["4"]["inputs"]["ckpt_name"] == ""


@pytest.mark.parametrize("old", [True, False])
def test_comfyui_checkpoints(comfyui: ComfyUIServer, old: bool) -> None:
    comfyui.old_form = old
    first = load("comfyui", comfyui)
    comfyui.checkpoints = ["sd15.safetensors", "xl.safetensors"]
    with pytest.raises(BadInput, match=r"has 2 checkpoints \(sd15.safetensors, xl.*choose one with render.checkpoint"):
        load("comfyui", comfyui)
    assert load("comfyui", comfyui, checkpoint="sd15.safetensors").revision == first.revision
    assert load("comfyui", comfyui, checkpoint="xl.safetensors").revision != first.revision
    with pytest.raises(BadInput, match=r"render.checkpoint: got 'no'"):
        load("comfyui", comfyui, checkpoint="no")
    comfyui.metadata = None
    assert load("comfyui", comfyui, checkpoint="sd15.safetensors").revision != first.revision


def workflow(tmp: Path, **changes: object) -> str:
    """Write the built-in workflow under other node ids, with a node between encoder and sampler."""
    graph = json.loads(json.dumps(BUILT_IN).replace('"6"', '"60"').replace('"4"', '"40"'))
    graph["40"]["inputs"]["ckpt_name"] = "mine.safetensors"
    graph["7"]["inputs"]["text"] = "blurry"
    graph["61"] = {"class_type": "ConditioningSetTimestepRange", "inputs": {"conditioning": ["60", 0]}}
    graph["3"]["inputs"]["positive"] = ["61", 0]
    graph["3"]["_meta"] = {"title": "my sampler"}
    graph.update(changes)
    path = tmp / "workflow.json"
    path.write_text(json.dumps({key: node for key, node in graph.items() if node is not None}))
    return str(path)


class Recording(ComfyUIServer):
    """Draws from the built-in nodes whatever the workflow looks like."""

    def _outputs(self, number, graph, fault):
        graph = json.loads(json.dumps(graph))
        graph["3"]["inputs"]["positive"] = ["60", 0]
        return super()._outputs(number, graph, fault)


def test_a_workflow_of_the_users(tmp_path: Path) -> None:
    with Recording() as server:
        path = workflow(tmp_path)
        renderer = load_renderer(f"comfyui={server.url}", RenderSettings(workflow=path, width=64))
        assert renderer.model == "mine.safetensors"
        expected = {"num_inference_steps": 20, "guidance_scale": 7.0, "width": 64, "height": 512}
        assert renderer.settings.items() >= expected.items()
        plain, negative = renderer.render([CAT, RenderRequest("a red cat", 5, "fog")])
        assert not np.array_equal(np.asarray(plain.image), np.asarray(negative.image))
        first, second = (body["prompt"] for body in server.drawn())
        assert first["60"]["inputs"]["text"] == "a red cat"
        assert [graph["7"]["inputs"]["text"] for graph in (first, second)] == ["blurry", "fog"]
        revision = renderer.revision
        text = Path(path).read_text()
        Path(path).write_text(text.replace("my sampler", "other title"))
        again = load_renderer(f"comfyui={server.url}", RenderSettings(workflow=path, width=64))
        assert again.revision == revision
        Path(path).write_text(text.replace("normal", "karras"))
        again = load_renderer(f"comfyui={server.url}", RenderSettings(workflow=path, width=64))
        assert again.revision != revision


def test_a_workflow_whose_negative_side_is_zeroed_out(tmp_path: Path) -> None:
    zero = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["60", 0]}}
    with Recording() as server:
        path = workflow(tmp_path, **{"7": zero})
        renderer = load_renderer(f"comfyui={server.url}", RenderSettings(workflow=path, width=8, height=8))
        good, bad = renderer.render([CAT, RenderRequest("a red cat", 5, "fog")])
        assert good.error == ""
        assert bad.error == "the workflow takes no negative prompt"


SAMPLER = BUILT_IN["3"]
LOADED = {"class_type": "LoadImage", "inputs": {}}


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"3": None}, {}, "got 0 KSampler nodes"),
        ({"33": SAMPLER}, {}, "got 2 KSampler nodes"),
        ({"60": None}, {}, "no CLIPTextEncode"),
        ({"60": {"class_type": "CLIPTextEncode", "inputs": {"text": ["7", 0]}}}, {}, "no CLIPTextEncode with a text"),
        ({"61": {"class_type": "X", "inputs": {"conditioning": ["61", 0]}}}, {}, "no CLIPTextEncode"),
        ({"5": LOADED}, {"width": 64}, "no EmptyLatentImage"),
        ({}, {"checkpoint": "x"}, "no place beside render.workflow"),
    ],
)
def test_workflows_that_cannot_be_used(comfyui, tmp_path: Path, changes, settings, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_renderer(f"comfyui={comfyui.url}", RenderSettings(workflow=workflow(tmp_path, **changes), **settings))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "got No such file"),
        ("{", "got not JSON"),
        ("[]", "no nodes"),
        ('{"nodes": [], "links": []}', r"Export \(API\)"),
        ("\udcff", "got not JSON"),
    ],
)
def test_workflow_files_that_cannot_be_read(comfyui, tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "w.json"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match=message):
        load_renderer(f"comfyui={comfyui.url}", RenderSettings(workflow=str(path)))


def test_a_pipeline_takes_no_settings_of_servers(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"render.checkpoint is for servers"):
        load_renderer(str(tmp_path), RenderSettings(checkpoint="mine.safetensors"))


@pytest.mark.parametrize("setting", [{"dtype": "float16"}, {"offload": "model"}, {"lora": "a.safetensors"}])
def test_a_server_takes_no_settings_of_pipelines(a1111, setting) -> None:
    with pytest.raises(BadInput, match=f"render.{next(iter(setting))} is for pipelines in this process"):
        load_renderer(f"a1111={a1111.url}", RenderSettings(**setting))


def test_a_fixed_negative_prompt_comes_before_a_requests_own(a1111, comfyui) -> None:
    for server, name in ((a1111, f"a1111={a1111.url}"), (comfyui, f"comfyui={comfyui.url}")):
        renderer = load_renderer(name, RenderSettings(negative_prompt="blurry"))
        plain = load_renderer(name, RenderSettings())
        [drawn] = renderer.render([RenderRequest("a cat", 0, "fog")])
        [expected] = plain.render([RenderRequest("a cat", 0, "blurry, fog")])
        assert drawn.image.tobytes() == expected.image.tobytes(), server
        assert render_key(renderer, RenderRequest("a cat", 0)) != render_key(plain, RenderRequest("a cat", 0))


def test_a_timeout_must_be_a_time() -> None:
    with pytest.raises(BadInput, match="render timeout: got 0"):
        RenderSettings(timeout=0)

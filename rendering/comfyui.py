"""A running ComfyUI as a renderer: a workflow is queued for each picture, waited for, and its picture fetched.

Source: ComfyUI's server.py and script_examples/basic_api_example.py. ComfyUI does not tell a checkpoint's hash: the
revision is its name, its safetensors metadata when the server gives them, and the workflow. A file that is replaced
under the same name and without metadata is not noticed.
"""

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from core.errors import BadInput
from core.records import RenderRequest, RenderResult
from core.text import digest, one_line
from rendering.checks import decoded
from rendering.server import Server, ServerFailure, ServerRenderer, Unreachable, no_renderer
from rendering.settings import RenderSettings, fixed_negative
from rendering.workflow import BUILT_IN, Graph, checkpoint_of, prepared, read_workflow

POLL_SECONDS = 0.25
_ID = re.compile(r"[\w-]{1,64}")


class ComfyUIRenderer(ServerRenderer):
    """A `core.interfaces.Renderer`: one queued workflow a picture, so that each has its own generator."""

    def __init__(
        self, name: str, server: Server, settings: RenderSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask the server what it has and prepare the workflow.

        Raises:
            BadInput: the workflow cannot be used, or it is not clear with which checkpoint.
            ServerFailure: it does not answer, or not as this API does.
        """
        self.name = name
        self.chunk = settings.chunk
        self._server = server
        self._timeout = settings.timeout
        self._clock = clock
        stats = server.get_json("/system_stats")
        system = stats.get("system") if isinstance(stats, dict) else None
        if not isinstance(system, dict):
            raise ServerFailure("/system_stats was not answered as ComfyUI does")
        self._workflow = prepared(_graph(server, settings), settings)
        workflow = self._workflow
        self.model = checkpoint_of(workflow.graph)
        self.revision = digest([self.model, _metadata(server, self.model), workflow.digest], 40)
        self.sampler = str(workflow.setting(workflow.sampler, "sampler_name"))
        self.reads_negative = bool(workflow.negative)
        if settings.negative_prompt and not self.reads_negative:
            raise BadInput("render.negative_prompt: the workflow takes no negative prompt; leave it out")
        self.settings = {
            "server": "comfyui",
            "num_inference_steps": workflow.setting(workflow.sampler, "steps"),
            "guidance_scale": workflow.setting(workflow.sampler, "cfg"),
            "height": workflow.setting(workflow.latent, "height"),
            "width": workflow.setting(workflow.latent, "width"),
            "sampler": self.sampler,
            "workflow": workflow.digest,
            "comfyui": str(system.get("comfyui_version", "")),
            "torch": str(system.get("pytorch_version", "")),
            **fixed_negative(settings),
        }

    def _draw(self, request: RenderRequest) -> RenderResult:
        try:
            graph = self._workflow.filled(request)
        except ValueError as impossible:
            return RenderResult(None, str(impossible))
        queued = self._server.post("/prompt", {"prompt": graph, "client_id": "brushup"})
        return decoded(self._fetch(self._wait(queued)))

    def _wait(self, queued: dict[str, Any]) -> dict[str, Any]:
        """Return the outputs of a queued workflow once it has been executed."""
        number = queued.get("prompt_id")
        if not isinstance(number, str) or not _ID.fullmatch(number):
            raise ServerFailure(f"/prompt was answered without a prompt_id{_node_errors(queued)}")
        deadline = self._clock() + self._timeout
        while True:
            history = self._server.get_json(f"/history/{quote(number)}")
            entry = history.get(number) if isinstance(history, dict) else None
            if isinstance(entry, dict):
                return _outputs(entry)
            if self._clock() > deadline:
                raise ServerFailure(f"the picture was not finished within {self._timeout:g} s")
            time.sleep(POLL_SECONDS)

    def _fetch(self, outputs: dict[str, Any]) -> bytes:
        """Return the first picture of the first node that has one, saved ones before previews."""
        found = [
            image
            for _, output in sorted(outputs.items(), key=lambda item: (len(item[0]), item[0]))
            if isinstance(output, dict)
            for image in output.get("images") or ()
            if isinstance(image, dict) and isinstance(image.get("filename"), str)
        ]
        if not found:
            raise ServerFailure("the workflow ended without a picture")
        image = min(found, key=lambda image: image.get("type") != "output")
        query = {"filename": image["filename"], "subfolder": str(image.get("subfolder", ""))}
        return self._server.get("/view", {**query, "type": str(image.get("type", "output"))})


def load_comfyui(name: str, address: str, settings: RenderSettings) -> ComfyUIRenderer:
    """Connect to a server; see `rendering.load_renderer`."""
    try:
        return ComfyUIRenderer(name, Server(address, timeout=settings.timeout), settings)
    except ServerFailure as error:
        raise no_renderer(name, error) from None


def _graph(server: Server, settings: RenderSettings) -> Graph:
    """Return the user's workflow, or the built-in one with the checkpoint in it."""
    if settings.workflow is not None:
        if settings.checkpoint is not None:
            raise BadInput("render.checkpoint has no place beside render.workflow, which names its own; leave one out")
        return read_workflow(settings.workflow)
    names, wanted = _checkpoints(server), settings.checkpoint
    shown = one_line(", ".join(names[:5])) or "none"
    if wanted is None and len(names) != 1:
        raise BadInput(f"the server has {len(names)} checkpoints ({shown}); choose one with render.checkpoint")
    if wanted is not None and wanted not in names:
        raise BadInput(f"render.checkpoint: got {wanted!r}, expected one of the server's: {shown}")
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": wanted or names[0]}}
    return {**BUILT_IN, "4": loader}


def _checkpoints(server: Server) -> list[str]:
    """Return the checkpoints a server has; the list is inside the node's description, in an old or a new form."""
    what = server.get_json("/object_info/CheckpointLoaderSimple")
    try:
        kind, *more = what["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"]
        return [str(name) for name in (kind if isinstance(kind, list) else more[0]["options"])]
    except (KeyError, TypeError, ValueError, IndexError):
        raise ServerFailure("/object_info was not answered as ComfyUI does") from None


def _metadata(server: Server, checkpoint: str) -> Any:
    """Return a checkpoint's safetensors metadata, None when the server has none."""
    try:
        return server.get_json("/view_metadata/checkpoints", {"filename": checkpoint}) if checkpoint else None
    except Unreachable:
        raise
    except ServerFailure:
        return None


def _outputs(entry: dict[str, Any]) -> dict[str, Any]:
    status = entry.get("status")
    if isinstance(status, dict) and status.get("status_str") == "error":
        raise ServerFailure(f"the workflow failed{_reason(status.get('messages'))}")
    outputs = entry.get("outputs")
    return outputs if isinstance(outputs, dict) else {}


def _reason(messages: Any) -> str:
    """Return the exception that ComfyUI tells of, in one line."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and message[0] == "execution_error":
            told = message[1] if isinstance(message[1], dict) else {}
            return f": {one_line(told.get('exception_message', ''))} (node {one_line(told.get('node_type', '?'))})"
    return ""


def _node_errors(queued: dict[str, Any]) -> str:
    errors = queued.get("node_errors")
    return f" ({one_line(errors)})" if errors else ""

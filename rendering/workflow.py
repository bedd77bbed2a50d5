"""ComfyUI workflows in API form: the built-in one, and finding in any other what a request has to set."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.records import RenderRequest
from core.text import digest
from rendering.settings import RenderSettings

Graph = dict[str, dict[str, Any]]
LARGEST_FILE = 4 * 1024**2
BUILT_IN: Graph = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ""}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 0,
            "steps": 20,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}},
}
"""Text to image with one checkpoint; its pictures go to the server's temporary folder."""


@dataclass(frozen=True)
class Workflow:
    """A workflow with the ids of the nodes that a request sets; `negative` and `latent` are "" when there is none."""

    graph: Graph
    sampler: str
    positive: str
    negative: str
    latent: str

    def filled(self, request: RenderRequest) -> Graph:
        """Return the graph of one picture. Without a negative prompt in the request the workflow's own stays.

        Raises:
            ValueError: a negative prompt for a workflow without one.
        """
        graph = copy.deepcopy(self.graph)
        graph[self.sampler]["inputs"]["seed"] = request.seed
        graph[self.positive]["inputs"]["text"] = request.prompt
        if request.negative_prompt:
            if not self.negative:
                raise ValueError("the workflow takes no negative prompt")
            graph[self.negative]["inputs"]["text"] = request.negative_prompt
        return graph

    def setting(self, node: str, key: str) -> Any:
        """Return an input of a node, None when there is none."""
        return self.graph[node]["inputs"].get(key) if node else None

    @property
    def digest(self) -> str:
        """A digest of everything but prompt, seed and titles."""
        graph = self.filled(RenderRequest("", 0))
        return digest({key: [node["class_type"], node["inputs"]] for key, node in graph.items()})


def read_workflow(path: str) -> Graph:
    """Read a workflow that ComfyUI exported in API form.

    Raises:
        BadInput: missing, too big, not JSON, or not in API form.
    """
    try:
        if Path(path).stat().st_size > LARGEST_FILE:
            raise BadInput(f"render.workflow {path}: got more than {LARGEST_FILE} bytes, expected a workflow")
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not JSON in UTF-8"
        raise BadInput(f"render.workflow {path}: got {reason}, expected a workflow in ComfyUI's API form") from None
    nodes = value.values() if isinstance(value, dict) else []
    if not nodes or not all(_is_node(node) for node in nodes):
        raise BadInput(
            f"render.workflow {path}: got no nodes with class_type and inputs; export it with ComfyUI's "
            '"Export (API)", not with "Save"'
        )
    return dict(value)


def prepared(graph: Graph, settings: RenderSettings) -> Workflow:
    """Find the nodes of a workflow and put the user's settings in.

    Raises:
        BadInput: not exactly one KSampler, or no prompt is found behind it, or a setting has no place.
    """
    graph = copy.deepcopy(graph)
    samplers = [key for key, node in graph.items() if node["class_type"] == "KSampler"]
    if len(samplers) != 1:
        raise BadInput(f"render.workflow: got {len(samplers)} KSampler nodes, expected exactly one")
    sampler = samplers[0]
    positive = _encoder(graph, sampler, "positive")
    if not positive:
        raise BadInput("render.workflow: got no CLIPTextEncode with a text behind the KSampler's positive input")
    negative = _encoder(graph, sampler, "negative")
    if negative == positive:  # zeroed out, as for Flux
        negative = ""
    latent = _latent(graph, sampler)
    inputs = graph[sampler]["inputs"]
    changes = {"steps": settings.steps, "cfg": settings.guidance, "sampler_name": settings.sampler}
    inputs.update({key: value for key, value in changes.items() if value is not None})
    if latent:
        sizes = {"width": settings.width, "height": settings.height, "batch_size": 1}
        graph[latent]["inputs"].update({key: value for key, value in sizes.items() if value is not None})
    elif settings.width or settings.height:
        raise BadInput("render.workflow: got no EmptyLatentImage behind the KSampler; leave out width and height")
    return Workflow(graph, sampler, positive, negative, latent)


def checkpoint_of(graph: Graph) -> str:
    """Return the name of the checkpoint, or of the diffusion model, that a workflow loads; "" when it has none."""
    for key in ("ckpt_name", "unet_name", "model_name"):
        for node in graph.values():
            if isinstance(node["inputs"].get(key), str):
                return str(node["inputs"][key])
    return ""


def _is_node(node: object) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _encoder(graph: Graph, sampler: str, side: str) -> str:
    """Follow one side of the sampler, through nodes that change a conditioning, to the text encoder."""
    node, seen = _linked(graph, sampler, side), set[str]()
    while node and node not in seen:
        seen.add(node)
        if graph[node]["class_type"] == "CLIPTextEncode":
            return node if isinstance(graph[node]["inputs"].get("text"), str) else ""
        node = _linked(graph, node, side) or _linked(graph, node, "conditioning")
    return ""


def _latent(graph: Graph, sampler: str) -> str:
    node = _linked(graph, sampler, "latent_image")
    empty = node and graph[node]["class_type"].startswith("Empty") and "width" in graph[node]["inputs"]
    return node if empty else ""


def _linked(graph: Graph, node: str, name: str) -> str:
    """Return the id of the node that an input is linked to, "" when it is not linked."""
    link = graph[node]["inputs"].get(name)
    return str(link[0]) if isinstance(link, list) and len(link) == 2 and str(link[0]) in graph else ""

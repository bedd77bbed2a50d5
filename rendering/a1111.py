"""A running stable-diffusion-webui (A1111 or Forge, started with --api) as a renderer.

Source: its modules/api/api.py and models.py. Nothing is saved on the server.
"""

import base64
import binascii
import json
from typing import Any

from core.errors import BadInput
from core.records import RenderRequest, RenderResult
from core.text import one_line
from rendering.checks import decoded
from rendering.server import Server, ServerFailure, ServerRenderer, no_renderer
from rendering.settings import RenderSettings, fixed_negative

STEPS, GUIDANCE, SIDE = 20, 7.0, 512
"""What is asked for when the user does not say: the web page's own defaults."""
_OPTIONS = (
    "sd_vae",
    "CLIP_stop_at_last_layers",
    "eta_noise_seed_delta",
    "randn_source",
    "sdxl_crop_left",
    "sdxl_crop_top",
    "upcast_attn",
    "forge_additional_modules",
    "forge_unet_storage_dtype",
)
"""Options of the server that change a picture."""


class A1111Renderer(ServerRenderer):
    """A `core.interfaces.Renderer`: one request a picture, so that each has its own generator."""

    def __init__(self, name: str, server: Server, settings: RenderSettings) -> None:
        """Ask the server what it would draw with.

        Raises:
            BadInput: no checkpoint or no such checkpoint or sampler, or a size that the server would change.
            ServerFailure: it does not answer, or not as this API does.
        """
        self.name = name
        self.chunk = settings.chunk
        self._server = server
        options = _object(server.get_json("/sdapi/v1/options"), "/sdapi/v1/options")
        self._title, self.model, digest = _checkpoint(server, options, settings.checkpoint)
        self._hash = digest[:10]
        self.revision = f"{digest or 'unknown'}:{self.model}"
        self.sampler = _sampler(server, settings.sampler)
        width, height = settings.width or SIDE, settings.height or SIDE
        for key, value in (("width", width), ("height", height)):
            if value % 8:
                raise BadInput(f"render {key}: got {value}, expected a multiple of 8; change it")
        self.settings = {
            "server": "a1111",
            "num_inference_steps": settings.steps or STEPS,
            "guidance_scale": GUIDANCE if settings.guidance is None else settings.guidance,
            "height": height,
            "width": width,
            "sampler": self.sampler,
            "options": {key: options[key] for key in _OPTIONS if key in options},
            **fixed_negative(settings),
        }

    def _draw(self, request: RenderRequest) -> RenderResult:
        return self._picture(self._server.post("/sdapi/v1/txt2img", self._body(request)), request)

    def _body(self, request: RenderRequest) -> dict[str, Any]:
        return {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "seed": request.seed,
            "steps": self.settings["num_inference_steps"],
            "cfg_scale": self.settings["guidance_scale"],
            "width": self.settings["width"],
            "height": self.settings["height"],
            "sampler_name": self.sampler,
            "batch_size": 1,
            "n_iter": 1,
            "send_images": True,
            "save_images": False,
            "override_settings": {"sd_model_checkpoint": self._title},
        }

    def _picture(self, reply: dict[str, Any], request: RenderRequest) -> RenderResult:
        images = reply.get("images")
        if not isinstance(images, list) or not images or not isinstance(images[0], str):
            raise ServerFailure("txt2img was answered without a picture")
        made = _info(reply.get("info"))
        if made.get("seed", request.seed) != request.seed:
            raise ServerFailure(f"the server drew seed {one_line(made['seed'])}, not {request.seed}")
        model = made.get("sd_model_hash")
        if isinstance(model, str) and model and self._hash and model[:10] != self._hash:
            raise ServerFailure(f"the server drew with the model {one_line(model)}, not {self._hash}")
        try:
            return decoded(base64.b64decode(images[0].rpartition(",")[2], validate=True))
        except binascii.Error as error:
            raise ServerFailure(f"txt2img was answered with a picture that is not base64 ({error})") from None


def load_a1111(name: str, address: str, settings: RenderSettings) -> A1111Renderer:
    """Connect to a server; see `rendering.load_renderer`."""
    if settings.workflow is not None:
        raise BadInput("render.workflow is for comfyui=ADDRESS; leave it out for a1111=ADDRESS")
    try:
        return A1111Renderer(name, Server(address, timeout=settings.timeout), settings)
    except ServerFailure as error:
        raise no_renderer(name, error) from None


def _checkpoint(server: Server, options: dict[str, Any], wanted: str | None) -> tuple[str, str, str]:
    """Return title, name and sha256 ("" when the server has not computed it) of the checkpoint to draw with."""
    title = wanted or options.get("sd_model_checkpoint")
    if not isinstance(title, str) or not title:
        raise BadInput("the server has no checkpoint loaded; choose one on its page, or give render.checkpoint")
    models = server.get_json("/sdapi/v1/sd-models")
    known = [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []
    for entry in known:
        if title in (entry.get("title"), entry.get("model_name"), str(entry.get("title")).partition(" [")[0]):
            sha = entry.get("sha256") or (None if wanted else options.get("sd_checkpoint_hash")) or entry.get("hash")
            return str(entry["title"]), str(entry.get("model_name") or title), str(sha or "")
    if wanted:
        names = ", ".join(str(entry.get("model_name")) for entry in known[:5]) or "none"
        raise BadInput(f"render.checkpoint: got {wanted!r}, expected one of the server's: {one_line(names)}")
    return title, title.partition(" [")[0], str(options.get("sd_checkpoint_hash") or "")


def _sampler(server: Server, wanted: str | None) -> str:
    found = server.get_json("/sdapi/v1/samplers")
    names = [str(entry.get("name")) for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    if not names:
        raise ServerFailure("/sdapi/v1/samplers was answered without a sampler")
    if wanted is not None and wanted not in names:
        raise BadInput(f"render.sampler: got {wanted!r}, expected one of the server's: {one_line(', '.join(names))}")
    return wanted or ("Euler" if "Euler" in names else names[0])


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ServerFailure(f"{path} was answered with {type(value).__name__}, expected a JSON object")
    return value


def _info(text: Any) -> dict[str, Any]:
    """Return what the server says it drew; {} when it does not say."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}

"""Export for ComfyUI: a workflow in API form, with the best instruction's style in its text fields."""

import copy

from core.records import RenderRequest
from experiments.export.source import PLACEHOLDER, Source, as_json
from experiments.export.styles import for_comfyui, style_of

CHECKPOINT = "your-checkpoint.safetensors"


def comfyui(source: Source) -> str:
    """Return the run's own workflow, or plain text to image, with prompt and negative prompt filled in.

    It is what ComfyUI's "Export (API)" writes: load it in the browser, or post it to `/prompt` as {"prompt": ...}.
    """
    from rendering.settings import RenderSettings
    from rendering.workflow import BUILT_IN, prepared, read_workflow

    render = source.config.render
    prompt, negative = style_of(source, source.best["id"], for_comfyui)
    graph = copy.deepcopy(BUILT_IN) if render.workflow is None else read_workflow(render.workflow)
    if render.workflow is None:
        graph["4"]["inputs"]["ckpt_name"] = render.checkpoint or CHECKPOINT
        graph["9"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "brushup"}}
    there = str(render.renderer).startswith("comfyui=")  # elsewhere samplers have other names
    settings = RenderSettings(
        steps=render.steps,
        guidance=render.guidance,
        width=render.width,
        height=render.height,
        sampler=render.sampler if there else None,
    )
    text = prompt if source.prompt is None else prompt.replace(PLACEHOLDER, source.prompt)
    return as_json(prepared(graph, settings).filled(RenderRequest(text, 0, negative)))

"""LoRA weights: found, checked, and melted into a pipeline's own weights."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from core.errors import BadInput
from core.text import one_line
from rendering.folder import file_digest, hub_id

_ENDING = ".safetensors"


def add_lora(pipeline: Any, source: str, scale: float) -> dict[str, object]:
    """Add LoRA weights to a pipeline and return what identifies them: digest and scale.

    The weights are fused, so a picture takes as long as without. Every format that diffusers converts will do (its own,
    peft's, kohya's).

    Args:
        pipeline: a loaded pipeline, still on the CPU.
        source: a safetensors file, or a hub id `org/name` or `org/name@revision` with one such file in it.
        scale: how strongly they count; 1 is as trained.

    Raises:
        BadInput: peft is missing, there is no such file, or it holds nothing for this pipeline.
    """
    if find_spec("peft") is None:
        raise BadInput("render.lora needs the library peft: pip install 'brushup[lora]'")
    if not hasattr(pipeline, "load_lora_weights"):
        raise BadInput(f"render.lora: {type(pipeline).__name__} takes no LoRA weights; leave it out")
    path = _find(source)
    try:
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, use_safetensors=True, local_files_only=True)
        touched = list(pipeline.get_list_adapters())
        if touched:
            pipeline.fuse_lora(components=touched, lora_scale=scale)
            pipeline.unload_lora_weights()
    except Exception as error:  # three libraries read the user's file; whatever they raise means a bad one
        raise BadInput(
            f"render.lora {source}: got a file that does not load ({type(error).__name__}: {one_line(error)}), "
            f"expected LoRA weights for {type(pipeline).__name__}"
        ) from error
    if not touched:
        raise BadInput(f"render.lora {source}: nothing in it is for {type(pipeline).__name__}; choose another file")
    return {"digest": file_digest(path)[:16], "scale": scale}


def _find(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix != _ENDING:
            raise BadInput(f"render.lora {source}: got {path.suffix or 'no ending'}, expected a {_ENDING} file")
        return path
    hub = hub_id(source)
    if hub is None:
        raise BadInput(f"render.lora {source}: got no such file, expected a {_ENDING} file or a hub id org/name")
    try:
        folder = snapshot_download(hub.repo, revision=hub.revision, allow_patterns=f"*{_ENDING}")
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"render.lora {source}: the hub did not answer ({one_line(error)}); give a file") from error
    files = sorted(Path(folder).rglob(f"*{_ENDING}"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files[:5]) or "none"
        raise BadInput(f"render.lora {source}: got {len(files)} {_ENDING} files ({names}), expected one; give the file")
    return files[0]

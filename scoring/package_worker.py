"""The far side of `scoring.package`: a preference model of somebody else's package, in the Python that has it.

Run as a script; it imports nothing of ours, and its syntax is that of old Pythons. The first line on stdin says what to
load, each further one holds items; each is answered with a line on stdout:

    {"package": "hpsv2", "checkpoint": FILE, "config": FILE or null, "device": ..., "threads": ...}
        ->  {"facts": {...}}, or {"error": TEXT}
    {"items": [{"png": BASE64, "prompt": TEXT}, ...]}
        ->  {"values": [...], "errors": [...]}

Items are scored one by one, so that none depends on its neighbours.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # this script's folder: its clip.py and options.py would hide packages

import base64
import io
import json
import os
from collections.abc import Callable
from typing import Any

Score = Callable[[Any, str], float]
"""From a picture (RGB) and a prompt to the raw value."""


def mend_torchvision() -> None:
    """Make torchvision importable beside a torch for the CPU, where its compiled part wants CUDA's libraries.

    The packages use its Python part alone. Without the operators that the compiled part would bring, its import fails.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )


def load_hpsv2(order: dict[str, Any]) -> tuple[Score, str]:
    """Return hpsv2's score and version: its model, preprocessing and tokenizer, with the checkpoint loaded once.

    `hpsv2.score` itself first downloads the LAION model that the checkpoint then replaces, and reads the checkpoint
    again in each call.
    """
    import torch

    mend_torchvision()
    from hpsv2.src.open_clip import create_model_and_transforms, factory, get_tokenizer

    architecture = "ViT-H-14"
    if order["config"]:
        factory.add_model_config(order["config"])
        architecture = os.path.splitext(os.path.basename(order["config"]))[0]
    device = order["device"]
    model, _, see = create_model_and_transforms(
        architecture, None, precision="amp", device=device, light_augmentation=True, output_dict=True
    )
    model.load_state_dict(torch.load(order["checkpoint"], map_location=device, weights_only=True)["state_dict"])
    model.eval()
    tokenize = get_tokenizer("ViT-H-14")

    def score(picture: Any, prompt: str) -> float:
        pixels, tokens = see(picture)[None].to(device), tokenize([prompt]).to(device)
        with torch.autocast("cuda", enabled=device.startswith("cuda")):  # as the package does
            found = model(pixels, tokens)
        return float((found["image_features"] @ found["text_features"].T)[0, 0])

    return score, version("hpsv2")


def load_hpsv3(order: dict[str, Any]) -> tuple[Score, str]:
    """Return HPSv3's mu and the package's version.

    Arguments go by keyword: hpsv3 1.0.0 has `reward(image_paths, prompts)`, its repository `reward(prompts,
    image_paths)`. One pair a call: a batch is padded to its longest prompt, and then values depend on neighbours.
    """
    from hpsv3 import HPSv3RewardInferencer

    inferencer = HPSv3RewardInferencer(checkpoint_path=order["checkpoint"], device=order["device"])

    def score(picture: Any, prompt: str) -> float:
        return float(inferencer.reward(prompts=[prompt], image_paths=[picture])[0][0])

    return score, version("hpsv3")


PACKAGES = {"hpsv2": load_hpsv2, "hpsv3": load_hpsv3}


def version(package: str) -> str:
    """Return a package's installed version."""
    from importlib import metadata

    return metadata.version(package)


def load(order: dict[str, Any]) -> tuple[Score, dict[str, Any]]:
    """Return the score of the package in question, and the facts that its values depend on."""
    import torch

    if order["threads"]:
        torch.set_num_threads(order["threads"])
    if order["device"] == "auto":
        order["device"] = "cuda" if torch.cuda.is_available() else "cpu"
    score, release = PACKAGES[order["package"]](order)
    facts = {
        "package": f"{order['package']} {release}",
        "torch": torch.__version__,
        "device": order["device"],
        "threads": torch.get_num_threads(),
    }
    return score, facts


def answer(score: Score, items: list[dict[str, str]]) -> dict[str, Any]:
    """Return the values of items; where there is none, null and the reason."""
    import torch
    from PIL import Image

    values: list[float | None] = []
    errors = []
    for item in items:
        try:
            picture = Image.open(io.BytesIO(base64.b64decode(item["png"]))).convert("RGB")
            with torch.inference_mode():
                values.append(score(picture, item["prompt"]))
            errors.append("")
        except Exception as error:  # noqa: BLE001  (whatever the package throws at one item is that item's failure)
            values.append(None)
            errors.append(said(error))
    return {"values": values, "errors": errors}


def said(error: BaseException) -> str:
    """Return an error in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def main() -> None:
    """Answer stdin until it ends; what the package prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    score: Score | None = None
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any]
        if score is not None:
            reply = answer(score, request["items"])
        else:
            try:
                score, facts = load(request)
                reply = {"facts": facts}
            except Exception as error:  # noqa: BLE001  (a broken package fails in any way; the near side explains it)
                reply = {"error": said(error)}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()

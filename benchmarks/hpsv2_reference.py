"""hpsv2's own `hpsv2.score`, asked by JSON lines; runs in `.venv-parity/` (`parity_environment.py`).

    python hpsv2_reference.py ViT-B-32 CHECKPOINT THREADS

    {"score": [PICTURE FILES], "prompt": TEXT}  ->  {"values": [...], "seconds": ...} or {"error": TEXT}
    {"tokens": [TEXTS]}                         ->  {"tokens": [[...], ...]}, from the first to the end token

Seconds are processor seconds on the CPU, wall seconds on CUDA.

Two things of the package are replaced, both downloads; all else is as its users run it:

- `create_model_and_transforms` would fetch LAION's ViT-H-14, which the checkpoint then replaces: built without it, and
  of the architecture that is asked for;
- `hf_hub_download` would fetch the official checkpoint: it returns ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, from anywhere

from scoring.package_worker import mend_torchvision, said


def offline_hpsv2(architecture: str, checkpoint: str) -> Any:
    """Return the package, its two downloads replaced."""
    mend_torchvision()
    import hpsv2
    from hpsv2 import img_score

    create = img_score.create_model_and_transforms

    def create_offline(_name: str, _pretrained: str, **settings: Any) -> Any:
        return create(architecture, None, **settings)

    img_score.create_model_and_transforms = create_offline
    img_score.huggingface_hub.hf_hub_download = lambda *_args, **_settings: checkpoint
    return hpsv2


def answer(hpsv2: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request."""
    import torch

    if "tokens" in request:
        from hpsv2.src.open_clip import get_tokenizer

        rows = get_tokenizer("ViT-H-14")(request["tokens"])
        return {"tokens": [row[: int(row.argmax()) + 1].tolist() for row in rows]}
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    try:
        values = hpsv2.score(request["score"], request["prompt"], hps_version="v2.1")
    except Exception as error:  # noqa: BLE001  (what the package refuses is what we want to know)
        return {"error": said(error)}
    return {"values": [float(value) for value in values], "seconds": clock() - start}


def main() -> None:
    """Answer stdin until it ends."""
    import torch

    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the package prints is no answer
    architecture, checkpoint, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    hpsv2 = offline_hpsv2(architecture, checkpoint)
    for line in sys.stdin:
        out.write(json.dumps(answer(hpsv2, json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()

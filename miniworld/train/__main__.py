"""``python -m miniworld.train``: train the miniworld, stage by stage, from the drawn scenes to the card."""

from __future__ import annotations

import argparse
import logging
from functools import partial
from pathlib import Path

import diffusers
import torch
import transformers

from miniworld.train import (
    aesthetic,
    card,
    clip,
    evaluate,
    export,
    finish,
    judging,
    pairs,
    preference,
    prompts,
    renders,
    reward,
    text,
    unet,
)
from miniworld.train.stages import Stage, Workspace, run_stage

STAGES: dict[str, Stage] = {
    "renders": renders.run,
    "text": text.run,
    "judge": judging.run,
    "prompts": prompts.run,
    **{name: partial(clip.run, name=name) for name in clip.CLIPS},
    **{name: partial(unet.run, name=name) for name in unet.PLANS},
    finish.NAME: finish.run,
    "pairs": pairs.run,
    **{name: partial(preference.run, name=name) for name in preference.COURSES},
    "reward": reward.run,
    "aesthetic": aesthetic.run,
    "export": export.run,
    "evaluate": evaluate.run,
    "card": card.run,
}
"""In order; each needs those before it."""


def main() -> None:
    """Run all stages, or one. A stage that is recorded in the work folder is skipped."""
    parser = argparse.ArgumentParser(prog="python -m miniworld.train", description=__doc__)
    parser.add_argument("--stage", choices=STAGES, help="run only this stage")
    parser.add_argument(
        "--workdir", type=Path, default=Path(".miniworld"), help="folder for data and checkpoints (ignored by git)"
    )
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--shrink", type=int, default=1, help="divide all amounts of work, to try the stages out")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    space = Workspace(arguments.workdir, arguments.shrink)
    for name, stage in STAGES.items():
        if arguments.stage in (None, name):
            run_stage(name, stage, space)


if __name__ == "__main__":
    main()

"""``python -m miniworld.datasets log|pairs``: make the data sets; see the package's docstring."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from core.environment import set_switches
from core.errors import BrushupError
from miniworld import PIPELINE
from miniworld.datasets.gallery import GallerySize
from miniworld.datasets.log import write_log
from miniworld.datasets.pairs import write_pairs
from miniworld.datasets.source import open_source

logger = logging.getLogger("miniworld.datasets")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Leave with one line, without the usage."""
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m miniworld.datasets", description="Make data like the papers'.")
    commands = parser.add_subparsers(dest="command", required=True)
    gallery = commands.add_parser("log", help="a gallery's log of renders, in DiffusionDB's layout")
    gallery.add_argument("--out", type=Path, required=True, help="a new folder, or one to go on with")
    gallery.add_argument("--prompts", type=int, default=GallerySize.prompts, help="half naive, half professional")
    gallery.add_argument("--renders", type=int, default=GallerySize.renders, help="pictures per prompt")
    gallery.add_argument("--seed", type=int, default=GallerySize.seed)
    gallery.add_argument("--pipeline", type=Path, default=PIPELINE, help="folder with render_defaults.json")
    pairs = commands.add_parser("pairs", help="plain and professional prompts of the same scenes, as JSON lines")
    pairs.add_argument("--out", type=Path, required=True, help="a new .jsonl file")
    pairs.add_argument("--count", type=int, default=5000)
    pairs.add_argument("--seed", type=int, default=0)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one command and return the exit code; 2 after bad arguments."""
    set_switches()
    arguments = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # read at their import
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    try:
        if arguments.command == "log":
            size = GallerySize(arguments.prompts, arguments.renders, arguments.seed)
            counts = write_log(arguments.out, size, open_source(arguments.pipeline))["counts"]
            logger.info("%s: %d pictures in %d parts", arguments.out, counts["pictures"], counts["parts"])
        else:
            logger.info("%s: %d pairs", arguments.out, write_pairs(arguments.out, arguments.count, arguments.seed))
    except BrushupError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs or resumes a stub run in a process of its own, so that a test can kill it at any moment.

Usage: python -m tests.integration.driver FOLDER DELAY
"""

import sys
import time
from pathlib import Path

STARTED = time.time()


def main() -> None:
    """Resume the run `one` under FOLDER, with a renderer that takes DELAY seconds a chunk."""
    from core.environment import set_switches
    from core.progress import Silent
    from experiments.run import run
    from experiments.start import open_run
    from tests.fakes import fake_models

    set_switches()
    opened = open_run(Path(sys.argv[1]) / "runs", "one", {})
    run(opened.folder, opened.config, Silent(), started=STARTED, models=fake_models(delay=float(sys.argv[2])))


if __name__ == "__main__":
    main()

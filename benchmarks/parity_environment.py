"""The environment of `make parity`: `hpsv2` as pip installs it, apart from ours, with the file that its wheel lacks.

`hpsv2` pins pytest 7.2 and protobuf 3 and brings torchvision, so it never goes into our environment. Its wheel was
built without the vocabulary of its tokenizer (issue 30 of tgxs002/HPSv2); `open_clip_torch` carries the same file.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-parity"
PACKAGES = ("hpsv2==1.2.0", "open_clip_torch>=3.3,<4")
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


def ensure() -> Path:
    """Return the Python of the environment, made on the first call (a minute or more, 1.5 GB).

    Raises:
        subprocess.CalledProcessError: pip or venv failed; their output was shown.
    """
    python, ready = FOLDER / "bin" / "python", FOLDER / ".ready"
    if not ready.is_file():
        print(f"making {FOLDER.name}/ with {', '.join(PACKAGES)}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, torch_requirement(), *PACKAGES], check=True)
        shutil.copy(vocabulary(), site_packages() / "hpsv2" / "src" / "open_clip")
        ready.touch()
    return python


def vocabulary() -> Path:
    """Return the file with the byte pairs of CLIP's tokenizer."""
    return site_packages() / "open_clip" / VOCABULARY


def site_packages() -> Path:
    """Return where the environment's packages lie."""
    return next((FOLDER / "lib").glob("python3*")) / "site-packages"


def torch_requirement() -> str:
    """Return the torch that we ask for in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return next(line for line in project["dependencies"] if line.startswith("torch>"))

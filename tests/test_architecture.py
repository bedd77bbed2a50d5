"""The import rules bite: each contract is broken on purpose in a copy and must be reported."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "agents bandit cli core experiments graph miniworld prompt_db refiner rendering reports scoring".split()
BREACHES = {
    "agents/settings.py": "import miniworld",
    "graph/blocks.py": "import miniworld.truth",
    "scoring/options.py": "import miniworld.judge",
    "bandit/rewards.py": "import prompt_db",
    "rendering/settings.py": "import scoring",
    "experiments/wiring.py": "import miniworld.grammar",
    "core/text.py": "import cli",
    "reports/words.py": "import graph",
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_breach_is_reported(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pt", "*.safetensors"))
    assert lint(tmp_path).returncode == 0
    for name, line in BREACHES.items():
        file = tmp_path / name
        kept = file.read_text()
        file.write_text(f"{kept}\n{line}\n")
        assert lint(tmp_path).returncode != 0, f"{line} in {name} went unnoticed"
        file.write_text(kept)

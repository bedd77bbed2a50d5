"""Runs a comparison on the stub world in a process of its own, so that a test can kill it.

Usage: python -m tests.integration.compare_driver FOLDER JOBS
"""

import json
import sys
from pathlib import Path
from typing import Any

from core.environment import set_switches

set_switches()

from core.progress import Silent  # noqa: E402
from experiments.compare.plan import Plan, make_plan  # noqa: E402
from experiments.compare.run import run_comparison  # noqa: E402
from experiments.config import RunConfig  # noqa: E402
from experiments.wiring import Models  # noqa: E402
from tests.fakes import fake_models  # noqa: E402
from tests.integration.world import stub_config  # noqa: E402


def load(config: RunConfig) -> Models:
    """Return stub models; the workers find this by its name."""
    return fake_models(delay=0.005)


def write_toml(tmp: Path, name: str = "stub", **sections: dict[str, Any]) -> Path:
    """Write a stub configuration as a TOML file."""
    sizes = {"validation_prompts": 4, "test_prompts": 20, "test_seeds": 1, "top": 2}
    wanted = {"run": {"batch_size": 3, "pulls_per_round": 4}, "evaluation": sizes}
    for section, values in sections.items():
        wanted.setdefault(section, {}).update(values)
    config = stub_config(tmp, **wanted).model_dump(mode="json")
    lines = []
    for section, values in config.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    file = tmp / f"{name}.toml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def stub_plan(tmp: Path, **changes: Any) -> Plan:
    """Lay out a small comparison."""
    wanted: dict[str, Any] = {"policies": ["greedy", "uniform"], "batch_sizes": [2, 3], "replicates": 2}
    return make_plan(tmp / "runs", [write_toml(tmp)], **{**wanted, "budget_renders": 70, **changes})


def main() -> None:
    """Run it, or go on with it."""
    tmp = Path(sys.argv[1])
    run_comparison(tmp / "runs", "cmp", stub_plan(tmp), Silent(), load=load, jobs=int(sys.argv[2]))


if __name__ == "__main__":
    main()

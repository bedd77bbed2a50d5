"""A home folder with the stub world's prompts and corpus in it, for whole runs without weights."""

from pathlib import Path
from typing import Any

from experiments.config import RunConfig, parse_config
from experiments.folder import RunFolder, create_folder
from prompt_db.library import Library
from tests.agents.stub_world import World


def stub_config(tmp: Path, world: World | None = None, **sections: dict[str, Any]) -> RunConfig:
    """Write prompts and corpus and return a small run's configuration (sections are merged in)."""
    world = world or World()
    prompts, corpus, home = tmp / "prompts.txt", tmp / "corpus.txt", tmp / "runs"
    if not prompts.exists():
        texts = dict.fromkeys(world.prompts("train", 140))
        prompts.write_text("\n".join(texts) + "\n", encoding="utf-8")
        corpus.write_text("\n".join(world.corpus()) + "\n", encoding="utf-8")
    home.mkdir(exist_ok=True)
    library = Library(home / "prompts.db")
    if not library.has("stub"):
        library.import_file(corpus, name="stub")
    library.close()
    raw: dict[str, dict[str, Any]] = {
        "run": {"rounds": 3, "batch_size": 6},
        "evaluation": {"validation_prompts": 12, "test_prompts": 24, "test_seeds": 2},
        "prompts": {"file": str(prompts), "corpus": "stub"},
    }
    for section, values in sections.items():
        raw.setdefault(section, {}).update(values)
    return parse_config(raw, source="the test")


def stub_folder(tmp: Path, config: RunConfig, name: str = "one") -> RunFolder:
    """Create the run's folder."""
    return create_folder(tmp / "runs", name, config.model_dump(mode="json"))

"""`brushup train`: from a configuration to a refiner's folder; the same command goes on where it was stopped."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from core.errors import BadInput, Interrupted
from core.progress import Progress, Silent
from core.text import digest
from experiments.folder import alone_in, read_json, write_json
from experiments.training.config import MINIWORLD, PAPER, TrainingConfig, load_training
from experiments.training.data import Reader, file_contents
from experiments.training.workshop import Workshop, plain
from prompt_db.caps import Caps
from refiner.folder import MANIFEST_FILE, check_free, read_manifest
from refiner.processes import check_split, is_main
from refiner.train_config import TrainConfig

RECIPE = "recipe"
"""Name of a fact in a refiner's manifest: digest of the configuration and the files that it was trained with."""
RECIPE_FILE = "recipe.json"
"""Holds that digest while it is trained, beside the metrics."""


def train(
    home: Path,
    refiner: str,
    source: str | None,
    settings: Sequence[str],
    progress: Progress,
    *,
    out: Path | None = None,
) -> dict[str, Any]:
    """Train a refiner.

    Args:
        home: folder of all runs; its cache keeps pictures and scores.
        refiner: a name of `experiments.training.config.KINDS`.
        source: a TOML file, `miniworld` or `paper`; None = `miniworld`.
        settings: `KEY=VALUE`, over the file.
        progress: told what happens.
        out: the refiner's folder; by default `HOME/refiners/NAME`, by the file's name or the refiner's.

    Returns:
        `refiner` (the folder), `label`, `data`, `figures`; of several processes the main one alone, the others nothing.

    Raises:
        BadInput: a bad configuration or bad data; or the folder holds something else, another recipe's training, or
            another process's.
        BudgetReached: a cap on drawing; raise it, and the same command goes on.
        Interrupted: Ctrl-C; the same command goes on.
    """
    config = load_training(refiner, source, settings)
    names = {None: refiner, MINIWORLD: refiner, PAPER: f"{refiner}-paper"}
    place = out or home / "refiners" / (names.get(source) or Path(str(source)).stem)

    def recipe(shop: Workshop) -> None:
        if config.refiner == "prip":
            from experiments.training.pivot import train_pivot

            train_pivot(shop)
        else:
            from experiments.training.language import train_language

            train_language(shop)

    return make(home, place, config, recipe, progress)


def make(
    home: Path,
    out: Path,
    config: TrainingConfig,
    recipe: Callable[[Workshop], None],
    progress: Progress,
    *,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Follow a recipe to a refiner's folder, or find that it was followed.

    Args:
        home: folder of all runs.
        out: the refiner's folder.
        config: what is trained.
        recipe: trains it and writes the folder.
        progress: told what happens.
        facts: more that decides the result, for the card.

    Raises:
        BadInput: as `train`.
    """
    if not is_main():
        progress = Silent()
    files = file_contents(config.data)
    known = digest(plain([asdict(replace(config, budget=Caps())), facts or {}, *([files] if files else [])]))
    out = out.absolute()
    if (out / MANIFEST_FILE).is_file():
        if read_manifest(out).data.get(RECIPE) != known:
            raise BadInput(f"{out} holds a refiner of another recipe; name another --out, or remove it")
        progress.note(f"{out} is trained already")
    else:
        check_free(out)
        _check_split(config)
        reader = Reader(config.data, home / "refiners" / ".data", {RECIPE: known, **(facts or {})})
        shop = Workshop(config, home, out, reader, progress, known)
        with _claimed(shop.work, known) if is_main() else nullcontext(), _told(progress), _resumable():
            try:
                recipe(shop)
            finally:
                shop.close()
    if not is_main():
        return {}
    manifest = read_manifest(out)
    return {
        "refiner": str(out),
        "label": manifest.label,
        "data": dict(manifest.data),
        "figures": dict(manifest.figures),
    }


def _check_split(config: TrainingConfig) -> None:
    """Find out now, not after a log is drawn, whether batches can be taken apart."""
    stages = [getattr(config.model, field.name) for field in fields(config.model)]
    for stage in [*stages, config.reward.text] if config.reward.by == "text" else stages:
        if isinstance(stage, TrainConfig):
            check_split(stage)


@contextmanager
def _claimed(work: Path, recipe: str) -> Iterator[None]:
    """Keep a training's folder to one process and, once a stage is done, to one recipe."""
    with alone_in(work, "--out"):
        file = work / RECIPE_FILE
        begun = any(place != file for place in work.glob("*.json"))
        if begun and (read_json(file) if file.exists() else {}).get(RECIPE) != recipe:
            raise BadInput(f"{work} is of another recipe; name another --out, or remove it")
        write_json(file, {RECIPE: recipe})
        yield


@contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted; give the same command again to go on from the last checkpoint") from None


@contextmanager
def _told(progress: Progress) -> Iterator[None]:
    """Pass on what training logs."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            progress.note(("warning: " if record.levelno >= logging.WARNING else "") + record.getMessage())

    handler, loggers = Handler(), [logging.getLogger(name) for name in ("refiner", "miniworld")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)

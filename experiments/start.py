"""Starting and reopening runs, up to the point where heavy imports begin: cheap checks, the folder, the config."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadInput
from experiments.config import RunConfig, load_config, parse_config
from experiments.folder import RunFolder, create_folder, existing_folder, read_json, remove_folder, write_json

LONGEST_INSTRUCTION = 4000


@dataclass(frozen=True)
class OpenRun:
    """A run's folder with its configuration."""

    folder: RunFolder
    config: RunConfig


def start_run(
    home: Path,
    name: str | None,
    config_file: Path | None,
    flags: Mapping[str, Any],
    *,
    instructions: Path | None = None,
    from_run: str | None = None,
) -> OpenRun:
    """Check what can be checked cheaply and create the run's folder with its configuration.

    Raises:
        BadInput: config, flags, prompts or instructions cannot be used; nothing was created.
    """
    config = checked_config(home, config_file, flags, instructions=instructions, from_run=from_run)
    return OpenRun(create_folder(home, name, config.model_dump(mode="json")), config)


def checked_config(
    home: Path,
    config_file: Path | None,
    flags: Mapping[str, Any],
    *,
    instructions: Path | None = None,
    from_run: str | None = None,
) -> RunConfig:
    """Return the configuration of a new run, after all cheap checks; nothing is created.

    Raises:
        BadInput: config, flags, prompts or instructions cannot be used.
    """
    extra: list[str] = []
    if from_run is not None:
        extra += best_of(existing_folder(home, from_run))
    if instructions is not None:
        extra += read_instructions(instructions)
    config = load_config(config_file, {**flags, "instructions": extra or None})
    config = _absolute_paths(config)
    check_price(config)
    config.render.settings()
    if config.prompts.file:
        from experiments.data import run_prompts

        run_prompts(config)
    return config


def open_run(
    home: Path, name: str, caps: Mapping[str, float | None], prices: Mapping[str, float | None] | None = None
) -> OpenRun:
    """Reopen a run; caps given now replace those it had and may not be lower, prices replace too; both are stored.

    Raises:
        BadInput: there is no such run, its configuration is damaged, another process is working on it, a cap is lower
            than the one it had, or there is a cap on USD and no price.
    """
    folder = existing_folder(home, name)
    from experiments.status import refuse_running

    refuse_running(folder)
    raw = read_json(folder.config_file)
    given = {key: value for key, value in caps.items() if value is not None}
    before = dict(raw.get("budget") or {})
    raw.setdefault("budget", {}).update(given)
    priced = {key: value for key, value in (prices or {}).items() if value is not None}
    raw.setdefault("agents", {}).update(priced)
    config = parse_config(raw, source=str(folder.config_file))
    for key, value in given.items():
        if before.get(key) is not None and value < before[key]:
            flag = f"--{key.replace('_', '-')}"
            raise BadInput(f"{flag} is {value}; run {name!r} has {before[key]}, and a run's caps can only be raised")
    check_price(config)
    if given or priced:
        write_json(folder.config_file, config.model_dump(mode="json"))
    return OpenRun(folder, config)


def check_price(config: RunConfig) -> None:
    """Refuse a cap on USD that cannot be kept because the LLM's price is unknown, and half a price.

    Raises:
        BadInput: with the fix.
    """
    agents = config.agents
    if config.budget.max_usd is None and agents.price_in is None and agents.price_out is None:
        return
    price = agents.price()
    if config.budget.max_usd is not None and price is None:
        raise BadInput(
            f"--max-usd cannot be kept: the price of {agents.llm}{' at ' + agents.api_base if agents.api_base else ''} "
            "is unknown; give --price-in and --price-out (USD per million tokens)"
        )


def read_instructions(path: Path) -> list[str]:
    """Read instructions: a `brushup export` JSON file, or text with a blank line between two instructions.

    Raises:
        BadInput: missing, empty, binary, or an instruction is too long.
    """
    if path.suffix == ".json":
        arms = read_json(path).get("instructions")
        if not isinstance(arms, list) or not all(isinstance(arm, dict) and arm.get("text") for arm in arms):
            raise BadInput(f"{path} has no list of instructions with a text each; expected a file of `brushup export`")
        texts = [str(arm["text"]) for arm in arms if arm.get("origin") != "initial"]
    else:
        try:
            blocks = path.read_text(encoding="utf-8").replace("\r\n", "\n").split("\n\n")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot read {path}: {error}; expected UTF-8 text (--instructions)") from None
        texts = [block.strip() for block in blocks if block.strip()]
    if not texts or any("\x00" in text for text in texts):
        raise BadInput(f"{path} holds no instruction; expected text, a blank line between two (--instructions)")
    long = next((text for text in texts if len(text) > LONGEST_INSTRUCTION), None)
    if long:
        raise BadInput(
            f"an instruction in {path} has {len(long)} characters, at most {LONGEST_INSTRUCTION} are allowed"
        )
    return list(dict.fromkeys(texts))


def best_of(folder: RunFolder) -> list[str]:
    """Return the finalists of a finished run, the best first.

    Raises:
        BadInput: the run has no result yet.
    """
    if not folder.instructions_file.is_file():
        raise BadInput(f"run {folder.name!r} has no result yet; finish it with `brushup resume {folder.name}` (--from)")
    found = read_json(folder.instructions_file)
    arms = [arm for arm in found["instructions"] if arm["finalist"] and arm["origin"] != "initial"]
    return [arm["text"] for arm in sorted(arms, key=lambda arm: arm["id"] != found["best"])]


def expected_renders(config: RunConfig) -> int:
    """Return about how many pictures a run makes, for the progress bar."""
    wanted = config.evaluation
    pulls = config.run.rounds * config.pulls_per_round * config.run.batch_size
    naive = min(pulls, 2 * config.pulls_per_round * config.run.batch_size)
    validation = (wanted.top + 1) * wanted.validation_prompts
    return min(
        config.budget.max_renders or 10**9, pulls + naive + validation + 4 * wanted.test_prompts * wanted.test_seeds
    )


def forget_if_untouched(folder: RunFolder) -> None:
    """Remove a run whose loop never began, so that the same command can be given again."""
    if folder.database.is_file():
        from prompt_db.run_store import RunStore

        try:
            store = RunStore.reader(folder.database)
            began = store.rows("SELECT 1 FROM session WHERE loop_started IS NOT NULL LIMIT 1")
            store.close()
        except (BadInput, sqlite3.DatabaseError):  # not even its tables could be made
            began = []
        if began:
            return
    remove_folder(folder)


def _absolute_paths(config: RunConfig) -> RunConfig:
    """Make paths absolute, so that the run can be resumed from any folder."""
    raw = config.model_dump(mode="json")
    paths = ("prompts", "file"), ("render", "renderer"), ("render", "workflow"), ("render", "lora"), ("score", "scorer")
    for section, key in (*paths, ("agents", "templates")):
        if raw[section][key]:
            raw[section][key] = _absolute(raw[section][key])
    if raw["score"]["watch"]:
        raw["score"]["watch"] = [_absolute(spec) for spec in raw["score"]["watch"]]
    return parse_config(raw, source="the configuration")


def _absolute(spec: str) -> str:
    name, equals, file = spec.rpartition("=")  # a scorer may be NAME=FILE
    for head, path in (("", spec), (name + equals, file)):
        if path and Path(path).exists():
            return head + str(Path(path).resolve())
    return spec

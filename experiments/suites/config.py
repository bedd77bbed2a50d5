"""What a suite evaluates: a TOML file of rows, prompts, seeds and scorers. A new row is one line in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.errors import BadInput
from core.text import one_line
from experiments.config import read_toml
from refiner.constraints import CATEGORIES

SUITES = ("table", "ablation", "transfer", "hpsv2")
FOLDER = Path(__file__).resolve().parents[1] / "configs"
"""Holds `suites/SUITE.toml`; configurations of runs that rows name lie below it too."""
ALL = ("all",)
WHO = ("agent", "run", "corpus", "refiner")


@dataclass(frozen=True)
class RowSpec:
    """Who refines the prompts of a row: one of `agent`, `run`, `corpus` and `refiner`; without any, nobody (naive).

    Attributes:
        agent: configuration of a run (a path, or below `experiments/configs`): its LLM under its initial instruction.
        run: the best instruction of the run that `--run` names.
        corpus: professional prompts of the miniworld, with their own words before the first comma as naive prompts.
        refiner: a trained refiner, as in `brushup refine --refiner`; RUN stands for the run's name.
        want: categories of terms that its answers are asked to hold one term of each of; `["all"]` = all it knows.
        train: command that trains it; HOME and RUN stand for the home and the run's name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    agent: str = ""
    run: bool = False
    corpus: bool = False
    refiner: str = ""
    want: tuple[str, ...] = ()
    train: str = ""

    def __post_init__(self) -> None:
        if sum(bool(getattr(self, who)) for who in WHO) > 1:
            raise BadInput(f"a row: got several of {', '.join(WHO)}, expected one of them; leave the others out")
        if unknown := [name for name in self.want if name not in CATEGORIES and self.want != ALL]:
            raise BadInput(f"a row's want: got {', '.join(unknown)}, expected some of {', '.join(CATEGORIES)}")


@dataclass(frozen=True)
class SuiteConfig:
    """A suite.

    Attributes:
        rows: by name, in order; `naive` comes first whether it is named or not.
        renderer: `miniworld`, `miniworld:second`, or as in `rendering.load_renderer`.
        scorers: as in a training's configuration; the first one is what refiners were optimised for.
        per_group: prompts of each style family.
        seeds: pictures a prompt.
        seed: of prompts, pictures and refiners.
        chunk: pictures drawn at once.
        reference: the row that every other one is held against.
        parts: what else is measured: names of `experiments.suites.ablation.PARTS`.
        settings: of the parts, by name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    rows: Mapping[str, RowSpec] = field(default_factory=dict)
    renderer: str = "miniworld"
    scorers: tuple[str, ...] = ("miniworld", "miniworld:pick", "miniworld:aesthetic", "miniworld:reward")
    per_group: int = 50
    seeds: int = 4
    seed: int = 20262
    chunk: int = 32
    reference: str = "prip"
    parts: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.scorers or min(self.per_group, self.seeds, self.chunk) < 1 or self.seed < 0:
            raise BadInput("suite: expected a scorer, per_group, seeds and chunk of at least 1, a seed of at least 0")


_CONFIG = TypeAdapter(SuiteConfig)


def load_suite(suite: str, source: Path | None = None) -> SuiteConfig:
    """Return a suite's configuration.

    Args:
        suite: a name of `SUITES`.
        source: a TOML file instead of the suite's own.

    Raises:
        BadInput: no such suite or file, an unknown key or a bad value.
    """
    if suite not in SUITES:
        raise BadInput(f"--suite is {suite!r}; expected one of {', '.join(SUITES)}")
    path = source or FOLDER / "suites" / f"{suite}.toml"
    return _read(path)


def _base(path: Path, name: str) -> Path:
    """Return the file that another one builds on: beside it, or one of brushup's suites."""
    places = path.parent / name, FOLDER / "suites" / name
    if found := next((place for place in places if place.is_file()), None):
        return found
    raise BadInput(f"{path}: base is {name!r}; expected a file beside it, or one of {', '.join(SUITES)} and '.toml'")


def _read(path: Path) -> SuiteConfig:
    raw = read_toml(path)
    base = _read(_base(path, str(raw.pop("base")))) if "base" in raw else SuiteConfig()
    try:
        found = _CONFIG.validate_json(json.dumps(raw), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise BadInput(f"{path.name}: {place}: {one_line(first['msg'])}; correct it") from None
    changes: dict[str, Any] = {key: getattr(found, key) for key in raw}
    return replace(base, **changes)


def spec_of(config: SuiteConfig, name: str) -> RowSpec:
    """Return the row of a name; a refiner that is no row of the suite is one by its own name."""
    return config.rows.get(name, RowSpec(refiner=name))


def with_flags(config: SuiteConfig, given: Mapping[str, Any]) -> SuiteConfig:
    """Return a suite with the fields that were given (None or empty = not given)."""
    changes: dict[str, Any] = {key: value for key, value in given.items() if value}
    return replace(config, **changes)

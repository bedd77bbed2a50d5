"""The rows of a suite: who refines which prompts, and what the rows lack that cannot be evaluated yet."""

import re
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from core.records import NAIVE
from experiments.folder import existing_folder
from experiments.result import finished
from experiments.status import reading
from experiments.suites import sources
from experiments.suites.cases import professional_prompts
from experiments.suites.config import RowSpec, SuiteConfig, spec_of
from experiments.suites.sources import Answering, Tools
from experiments.suites.table import Case
from refiner import RELEASED
from refiner.folder import MANIFEST_FILE


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: its name.
        open: yields who answers.
        cases: its own naive prompts; None = the suite's.
        against: the row of its naive prompts.
    """

    name: str
    open: Callable[[Tools], AbstractContextManager[Answering]]
    cases: Sequence[Case] | None = None
    against: str = NAIVE


@dataclass(frozen=True)
class Missing:
    """A row that cannot be evaluated yet: its name, what is missing, and the command that makes it."""

    name: str
    what: str
    command: str


def make_rows(
    config: SuiteConfig, home: Path, run: str | None, wanted: Sequence[str] = ()
) -> tuple[list[Row], list[Missing]]:
    """Return the rows that can be evaluated, naive first, and those that cannot.

    Args:
        config: the suite.
        home: folder of all runs.
        run: the run that `--run` names.
        wanted: names of rows, or refiners that are no row; none = all rows of the suite.

    Raises:
        BadInput: a wanted row cannot be evaluated, or the run has no result.
    """
    if run is not None:
        finished(existing_folder(home, run))
    specs = {name: spec_of(config, name) for name in wanted} if wanted else dict(config.rows)
    specs.setdefault(NAIVE, RowSpec())
    rows: list[Row] = [Row(NAIVE, sources.naive)]
    missing = []
    for name, spec in specs.items():
        lack = _lacking(name, spec, home, run)
        if lack and wanted and name not in config.rows:
            known = ", ".join(config.rows)
            raise BadInput(f"--rows {name}: got neither a row nor a refiner; expected some of {known}, or a refiner")
        if lack and wanted:
            raise BadInput(f"--rows {name}: {lack.what}; make it first: {lack.command}")
        if lack:
            missing.append(lack)
        elif name != NAIVE:
            rows += _rows(name, spec, config)
    return rows, missing


def commands_to_train(home: Path, config: SuiteConfig, run: str | None, wanted: Sequence[str] = ()) -> list[str]:
    """Return the commands that train what a suite (or some rows of it) lacks, each once.

    They are in the order of its rows, but those that stop after some stages come last: these stages are there by then,
    and of two trainings at once fewer wait for the other. Without a run those that learn from one are left out.
    """
    rows = config.rows if not wanted else {name: spec_of(config, name) for name in wanted}
    specs = ((name, spec) for name, spec in rows.items() if spec.train and (run or "RUN" not in spec.train))
    lacks = (_lacking(name, spec, home, run) for name, spec in specs)
    return sorted(dict.fromkeys(lack.command for lack in lacks if lack), key=lambda command: "stages=" in command)


def _lacking(name: str, spec: RowSpec, home: Path, run: str | None) -> Missing | None:
    if run is None and (spec.run or "RUN" in spec.refiner):
        return Missing(name, "no run is named", f"brushup optimize --run NAME --home {home}, then give --run NAME")
    if not spec.refiner or (spec.refiner.partition("=")[0] in RELEASED and not spec.train):
        return None
    place = Path(sources.place_of(home, spec, run))
    if (place / MANIFEST_FILE).is_file() or not (spec.train or _is_name(spec.refiner)):
        return None
    advice = spec.train or f"brushup train REFINER --out HOME/refiners/{spec.refiner}"
    words = {"HOME": shlex.quote(str(home)), "RUN": shlex.quote(run or "NAME")}
    command = re.sub("HOME|RUN", lambda found: words[found.group()], advice)
    return Missing(name, f"no refiner {place.name} in {home / 'refiners'}", command)


def _is_name(refiner: str) -> bool:
    """Whether it can only be a refiner of the home: no hub id, no path, no author's weights."""
    return not set(refiner) & set("/=")


def _rows(name: str, spec: RowSpec, config: SuiteConfig) -> list[Row]:
    if spec.corpus:
        written = professional_prompts(config.per_group, config.seed)
        naive, cases = f"{name}-{NAIVE}", list(written)
        texts = {case.prompt: text for case, text in written.items()}
        return [Row(naive, sources.naive, cases, naive), Row(name, lambda _: sources.fixed(texts), cases, naive)]
    if spec.agent:
        return [Row(name, lambda tools: sources.agent(tools, name, spec.agent))]
    if spec.run:
        return [Row(name, sources.best_of_run)]
    if spec.refiner:
        return [row_of(name, spec)]
    return [Row(name, sources.naive)]


def row_of(name: str, spec: RowSpec) -> Row:
    """Return a trained refiner's row."""
    return Row(name, lambda tools: sources.trained(tools, spec))


def run_prompts_of(home: Path, run: str | None) -> set[str]:
    """Return every prompt that a run has seen or holds out; nothing without a run."""
    if run is None:
        return set()
    with reading(existing_folder(home, run)) as store:
        return {prompt.text for prompt in store.prompts()}

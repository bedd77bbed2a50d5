"""From names to a finished page: decides whether it is about a run, a stored comparison, or several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from experiments.folder import RunFolder, all_folders, check_name, existing_folder
from experiments.report.comparison import stored_comparison
from experiments.report.side_by_side import runs_comparison
from experiments.report.single import run_report
from reports import comparison_page, run_page


@dataclass(frozen=True)
class Page:
    """A report. `kind` is `run` or `comparison`; `verdict` is its first sentence."""

    kind: str
    verdict: str
    html: str


def make_page(home: Path, names: Sequence[str]) -> Page:
    """Return the page about these runs, or about one comparison.

    Raises:
        BadInput: no such run, one is named twice, a comparison is among several names, or files are damaged.
    """
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise BadInput(f"run {repeated[0]!r} is named twice; name each run once")
    compared = [name for name in names if RunFolder(home, check_name(name)).comparison_file.is_file()]
    if compared and len(names) > 1:
        raise BadInput(f"{compared[0]!r} is a comparison; report it alone, or name runs of one home only")
    if compared:
        found = stored_comparison(RunFolder(home, compared[0]))
        return Page("comparison", found.verdict.text, comparison_page(found))
    folders = [_run_folder(home, name) for name in names]
    if len(folders) > 1:
        found = runs_comparison(folders)
        return Page("comparison", found.verdict.text, comparison_page(found))
    single = run_report(folders[0])
    return Page("run", single.verdict.text, run_page(single))


def _run_folder(home: Path, name: str) -> RunFolder:
    if not RunFolder(home, name).config_file.is_file() and any(all_folders(home / name)):
        raise BadInput(
            f"{name!r} is a comparison that is not finished; start the same `brushup compare` again, or report its "
            f"runs with --home {home / name}"
        )
    return existing_folder(home, name)

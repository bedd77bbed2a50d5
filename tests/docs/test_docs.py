"""The documentation is held to the program: links lead somewhere, pages are current, README commands run."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from cli.main import app, register
from docs.generate import PAGES
from experiments.config import parse_config

ROOT = Path(__file__).resolve().parents[2]
PAGES_BY_HAND = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = ("openai/", "stabilityai/", "--api-base", "my.txt", "--replicates 10")
"""README commands with these need a key, a hub, files of the reader's or an hour: they are parsed, not run."""


def readme_commands() -> list[str]:
    """Return the commands of README's sh blocks, one a line."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = [line for line in readme_commands() if line.startswith("brushup ")]
SHOWN = [
    line for page in PAGES_BY_HAND for line in re.findall(r"^    (brushup [^<>]*?)(?: \|.*)?$", page.read_text(), re.M)
]
"""The commands that pages show in indented blocks."""


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: page.name)
def test_no_two_sections_of_a_page_have_one_name(page: Path) -> None:
    headings = re.findall(r"^#+ .+", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    assert len(headings) == len(set(headings))


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run `python docs/generate.py`"


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: page.name)
def test_files_named_in_the_docs_exist(page: Path) -> None:
    packages = "agents|bandit|cli|core|experiments|graph|miniworld|prompt_db|rendering|reports|scoring|tests|examples"
    for name in re.findall(rf"`((?:{packages})/[\w/.-]*)`", page.read_text()):
        assert (ROOT / name).exists(), f"{page.name} names {name}"


TOML_BLOCKS = [
    block for page in PAGES_BY_HAND for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.parametrize("block", TOML_BLOCKS)
def test_configurations_in_the_docs_are_valid(block: str) -> None:
    config = parse_config(tomllib.loads(block), source="the page")
    config.render.settings()


def test_readme_has_commands() -> None:
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("line", [*COMMANDS, *SHOWN])
def test_commands_parse(line: str) -> None:
    register()
    command: object = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {flag for option in command.params for flag in option.opts}  # type: ignore[attr-defined]
    for word in words:
        if word.startswith("--"):
            assert word in known, f"{word} is no flag of: {line}"


@pytest.mark.slow
def test_readme_commands_run_in_order(tmp_path: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    ran = 0
    for line in COMMANDS:
        if any(mark in line for mark in NOT_RUN):
            continue
        done = subprocess.run(shlex.split(line), cwd=tmp_path, env=env, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
        ran += 1
    assert ran >= 8
    assert (tmp_path / "runs" / "mine" / "summary.json").is_file()


@pytest.mark.slow
def test_make_demo_leaves_what_the_readme_promises() -> None:
    if os.environ.get("BRUSHUP_INSIDE_DEMO_TEST"):
        pytest.fail("make demo must not run the tests")
    env = {**os.environ, "BRUSHUP_INSIDE_DEMO_TEST": "1"}
    for _ in range(2):
        done = subprocess.run(["make", "demo"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-2000:]
    assert "unseen prompts" in done.stderr
    for name in ("summary.json", "instructions.json", "run.db", "contact_sheet.png"):
        assert (ROOT / "runs" / "demo" / name).is_file()


@pytest.mark.slow
def test_the_minimal_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "examples/minimal_loop.py"], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "best instruction:" in done.stdout
    assert len((ROOT / "examples" / "minimal_loop.py").read_text().splitlines()) <= 120

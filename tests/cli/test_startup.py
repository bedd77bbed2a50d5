"""Start-up: quick help, lazy imports, a folder within a second; and that the real command works."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import experiments.doctor
from cli.main import app, register
from tests.cli.conftest import Brushup, write_toml

HEAVY = ("torch", "diffusers", "transformers", "langgraph", "litellm", "openai")
REPORT = (
    "import sys, atexit;"
    f"atexit.register(lambda: print('HEAVY', *[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr));"
    "from cli.main import main; main()"
)


def python(*arguments: object, **keywords: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, **keywords
    )


def walk(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every command with its words."""
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from walk(child, (*path, name))


def all_commands() -> dict[tuple[str, ...], object]:
    import typer.main

    register()
    return dict(walk(typer.main.get_command(app)))


def test_every_command_has_help_and_the_shared_options() -> None:
    names = {" ".join(path) for path in all_commands()}
    expected = {*"optimize resume runs show compare simulate gradients report export refine evaluate doctor".split()}
    expected |= {"train", "distill", "prompts import", "prompts search", "prompts stats", "cache stats", "cache prune"}
    assert names == {*expected, "study export", "study import"}
    for path, command in all_commands().items():
        assert command.help, path
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--home", "--json"} <= options, path
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)


def cpu_seconds(process: subprocess.Popen[bytes], started: float) -> float:
    """Return the processor seconds of a living process, so that others on this machine do not count."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # no /proc here
        return time.perf_counter() - started
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_help_is_quick() -> None:
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "--help"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_utime + usage.ru_stime < 0.6


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["runs"],
        ["show", "one"],
        ["show", "one", "--watch"],
        ["export", "one"],
        ["refine", "a red castle in a forest, anime", "--run", "one"],
        ["prompts", "stats"],
        ["prompts", "search", "castle"],
    ],
    ids=" ".join,
)
def test_looking_and_refining_import_nothing_heavy(finished: Path, arguments: list[str]) -> None:
    where = [] if arguments == ["--help"] else ["--home", finished / "runs"]
    done = python("-c", REPORT, *arguments, *where)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].split() == ["HEAVY"]


def test_the_folder_is_there_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, experiments.start as start;"
        "create = start.create_folder;\n"
        "def spy(*a):\n"
        "    create(*a)\n"
        f"    print(*[m for m in {HEAVY!r} if m in sys.modules])\n"
        "    sys.exit(0)\n"
        "start.create_folder = spy\n"
        "from cli.main import main; main()"
    )
    config = write_toml(tmp_path)
    done = python("-c", code, "optimize", config, "--run", "one", "--home", tmp_path / "runs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
    assert (tmp_path / "runs/one/config.json").is_file()


def test_the_folder_and_its_config_are_there_within_a_second(tmp_path: Path) -> None:
    """One processor second, that is: on a busy machine others get theirs. Killed right then, the run is there."""
    config, file = write_toml(tmp_path), tmp_path / "runs" / "one" / "config.json"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "optimize", config, "--run", "one", "--home", tmp_path / "runs"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not file.is_file() and process.poll() is None:
        time.sleep(0.005)
    spent = cpu_seconds(process, started)
    process.kill()
    process.wait()
    assert json.loads(file.read_text())["run"]["rounds"] == 2
    assert spent < 1


def test_heavy_imports_happen_under_the_strict_switches() -> None:
    """Importing the entry point sets them, before anything that reads them can be imported."""
    code = (
        "import sys, os, cli.main;"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules],"
        " os.environ['LANGGRAPH_STRICT_MSGPACK'], os.environ['DIFFUSERS_DISABLE_REMOTE_CODE'])"
    )
    names = ("LANGGRAPH_STRICT_MSGPACK", "DIFFUSERS_DISABLE_REMOTE_CODE")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    assert python("-c", code, env=clean).stdout.split() == ["true", "1"]


def test_the_installed_command(finished: Path) -> None:
    script = Path(sys.executable).with_name("brushup")
    command = [script] if script.is_file() else [sys.executable, "-m", "cli.main"]
    done = subprocess.run([*command, "runs", "--home", finished / "runs", "--json"], capture_output=True, check=True)
    assert json.loads(done.stdout)[0]["name"] == "one"
    bad = subprocess.run([*command, "show", "nobody", "--home", finished / "runs"], capture_output=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.count(b"\n") == 1
    nothing = subprocess.run(command, capture_output=True, check=False)
    assert nothing.returncode == 2
    assert b"Traceback" not in nothing.stderr


def test_doctor(brushup: Brushup, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIPELINE", "SCORER"):
        folder = home.parent / name.lower()
        folder.mkdir()
        (folder / "model_index.json").write_text("{}")
        (folder / "weights.pt").write_text("")
        monkeypatch.setattr(experiments.doctor.miniworld, name, folder)
    corpus = home.parent / "corpus.txt"
    corpus.write_text("")
    monkeypatch.setattr(experiments.doctor.miniworld, "CORPUS", corpus)
    done = brushup("doctor", "--home", home, "--json")
    assert done.code == 0, done
    names = [check["name"] for check in done.json["checks"]]
    assert names[:2] == ["Python", "torch"]
    assert {"diffusers", "transformers", "langgraph", "litellm", "torchvision", "agents, bandit", "home", "disk"} <= {
        *names
    }
    assert "threads" in done.json["checks"][1]["detail"]
    details = {check["name"]: check["detail"] for check in done.json["checks"]}
    assert details["drawing"].startswith("on c"), "on cpu or cuda, with the dtype and the reason"
    assert "peft" in details
    text = brushup("doctor", "--home", home)
    assert text.out == ""
    assert "all fine" in text.err


def versions(**known: str):
    def version(name: str) -> str:
        if name in known:
            return known[name]
        raise PackageNotFoundError(name)

    return version


def test_doctor_names_what_is_wrong(brushup: Brushup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"torchvision": "0.25", "openai-agents": "0.9", "diffusers": "0.42"}
    monkeypatch.setattr(experiments.doctor, "version", versions(**known))
    monkeypatch.setattr(experiments.doctor.miniworld, "ROOT", tmp_path)
    monkeypatch.setattr(experiments.doctor.miniworld, "PIPELINE", tmp_path / "pipeline")
    monkeypatch.setattr(experiments.doctor.miniworld, "SCORER", tmp_path / "scorer")
    monkeypatch.setattr(experiments.doctor.miniworld, "CORPUS", tmp_path / "corpus.txt")
    file = tmp_path / "file"
    file.write_text("")
    done = brushup("doctor", "--home", file, "--json")
    assert done.code == 2
    wrong = {check["name"]: check["detail"] for check in done.json["checks"] if not check["ok"]}
    assert set(wrong) >= {"torchvision", "agents, bandit", "transformers", "miniworld", "home"}
    assert "openai-agents is installed" in wrong["agents, bandit"] or "openai-agents 0.9" in wrong["agents, bandit"]
    assert "pip uninstall torchvision" in wrong["torchvision"]
    assert "pipeline/model_index.json" in wrong["miniworld"]
    text = brushup("doctor", "--home", file)
    assert text.code == 2
    assert "BAD  torchvision" in text.err
    assert not any("\n" in check["detail"] for check in done.json["checks"])

"""`cache stats` and `cache prune`: what they count, what they spare, and that a run can do without its pictures."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

import experiments.cache
from core.errors import BadInput, Interrupted
from core.records import RenderResult
from experiments.cache import Pruned, cache_stats, parse_age, parse_size, prune_cache
from experiments.wiring import Models
from graph.pictures import LOST
from prompt_db.run_store import RunStore
from rendering.cache import ImageCache
from tests.cli.conftest import Brushup, snapshot, write_toml
from tests.cli.test_look import unfinish

pytestmark = pytest.mark.slow

DAY = 86400.0
ORPHANS = [f"{k:02x}{'f' * 30}" for k in range(5)]


def referred(home: Path) -> set[str]:
    store = RunStore.reader(home / "one" / "run.db")
    try:
        return {row["key"] for row in store.rows("SELECT key FROM render WHERE error = ''")}
    finally:
        store.close()


def stored(home: Path) -> set[str]:
    return {file.key for file in ImageCache(home / "cache" / "images").files() if file.key}


def age(home: Path, key: str, days: float) -> None:
    path, at = ImageCache(home / "cache" / "images").path(key), time.time() - days * DAY
    os.utime(path, (at, at))


@pytest.fixture
def full(warm: Path) -> Path:
    """The finished run's home with five pictures of nobody, 1 to 5 days old, and two temporary files."""
    images = ImageCache(warm / "cache" / "images")
    images.put_many([(key, Image.new("RGB", (8, 8), (9, 9, 9))) for key in ORPHANS])
    for days, key in enumerate(ORPHANS, start=1):
        age(warm, key, days)
    for name, days in ((".old.1.2.tmp", 1), (".new.1.2.tmp", 0)):
        path = images.path(ORPHANS[0]).with_name(name)
        path.write_bytes(b"half")
        os.utime(path, (time.time() - days * DAY,) * 2)
    return warm


def test_stats_count_everything_and_change_nothing(brushup: Brushup, full: Path) -> None:
    before = snapshot(full)
    found = brushup("cache", "stats", "--home", full, "--json").json
    assert found["pictures"] == len(stored(full)) == len(referred(full)) + 5
    assert found["scores"] > 100
    assert found["replies"] > 20
    assert (found["stale_files"], found["stale_bytes"]) == (1, 4)
    assert found["bytes"] > found["picture_bytes"] > 1000
    assert 4.9 < (found["newest"] - found["oldest"]) / DAY < 5.1
    text = brushup("cache", "stats", "--home", full).err
    for words in ("pictures (", "scores, ", "LLM replies", "last used between", "1 stale temporary files"):
        assert words in text
    assert snapshot(full) == before


def test_stats_of_an_empty_home(brushup: Brushup, tmp_path: Path) -> None:
    found = brushup("cache", "stats", "--home", tmp_path / "nowhere", "--json").json
    assert (found["pictures"], found["bytes"], found["oldest"]) == (0, 0, None)
    assert not (tmp_path / "nowhere").exists()
    assert "0 pictures" in brushup("cache", "stats", "--home", tmp_path).err


def test_without_a_limit_only_stale_files_go(brushup: Brushup, full: Path) -> None:
    before = stored(full)
    done = brushup("cache", "prune", "--home", full, "--json").json
    assert (done["pictures"], done["stale_files"], done["freed"]) == (0, 1, 4)
    assert stored(full) == before
    assert [path.name for path in (full / "cache").rglob("*.tmp")] == [".new.1.2.tmp"]
    assert "see --older-than" in brushup("cache", "prune", "--home", full).err


def test_old_pictures_go_and_those_of_runs_stay(brushup: Brushup, full: Path) -> None:
    needed = referred(full)
    for key in needed:
        age(full, key, 100)
    before = snapshot(full)
    would = brushup("cache", "prune", "--home", full, "--older-than", "3d", "--dry-run", "--json").json
    assert snapshot(full) == before
    done = brushup("cache", "prune", "--home", full, "--older-than", "3d", "--json").json
    assert {**would, "dry_run": False} == done
    assert done["pictures"] == 3
    assert done["protected"] == len(needed)
    assert stored(full) == needed | set(ORPHANS[:2])


def test_a_size_takes_the_longest_unused_first(full: Path) -> None:
    sizes = {file.key: file.size for file in ImageCache(full / "cache" / "images").files() if file.key}
    total = sum(sizes.values())
    done = prune_cache(full, max_size=total - 1)
    assert done.pictures == 1
    assert done.kept_bytes == total - sizes[ORPHANS[4]] == cache_stats(full).picture_bytes
    assert ORPHANS[4] not in stored(full)
    assert prune_cache(full, max_size=0).protected == len(referred(full))
    assert stored(full) == referred(full)


def test_a_hit_counts_as_use(full: Path) -> None:
    assert ImageCache(full / "cache" / "images").get(ORPHANS[4])
    prune_cache(full, older_than=3 * DAY)
    assert {ORPHANS[4], ORPHANS[0]} <= stored(full)
    assert ORPHANS[3] not in stored(full)


def test_a_run_at_work_keeps_its_pictures_even_with_all(brushup: Brushup, full: Path) -> None:
    unfinish(full, pid=os.getpid())
    fresh = "ee" + "f" * 30  # drawn by the run, its fact is not stored yet
    ImageCache(full / "cache" / "images").put_many([(fresh, Image.new("RGB", (8, 8)))])
    done = brushup("cache", "prune", "--home", full, "--max-size", "0", "--all", "--json").json
    assert done["pictures"] == 5
    assert stored(full) == referred(full) | {fresh}


def test_a_run_that_is_just_starting_keeps_what_it_draws(full: Path, tmp_path: Path) -> None:
    (full / "two").mkdir()
    (full / "two" / "config.json").write_text("{}")
    fresh = "ee" + "f" * 30
    ImageCache(full / "cache" / "images").put_many([(fresh, Image.new("RGB", (8, 8)))])
    prune_cache(full, max_size=0)
    assert fresh in stored(full)


def test_a_run_that_cannot_be_read_stops_the_pruning(brushup: Brushup, full: Path) -> None:
    shutil.copytree(full / "one", full / "two")
    (full / "two" / "run.db").write_bytes(b"not a database" * 100)
    before = snapshot(full)
    for extra in ((), ("--all",)):
        done = brushup("cache", "prune", "--home", full, "--max-size", "0", *extra)
        done.refused("run 'two' cannot be read", "nothing was removed")
    assert snapshot(full) == before


def test_own_caches_of_runs_are_counted_and_pruned(full: Path) -> None:
    ImageCache(full / "one" / "cache" / "images").put_many([(ORPHANS[0], Image.new("RGB", (8, 8)))])
    before = cache_stats(full)
    assert before.pictures == len(stored(full)) + 1
    assert prune_cache(full, max_size=0).pictures == 6


def test_a_disk_that_refuses_is_one_line(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(experiments.cache.Path, "unlink", refuse)
    with pytest.raises(BadInput, match=r"cannot remove .*Permission denied"):
        prune_cache(full, max_size=0)


def test_a_pruned_run_is_shown_and_resumed(brushup: Brushup, models, full: Path) -> None:
    one = full / "one"
    before = {name: (one / name).read_bytes() for name in ("instructions.json", "contact_sheet.png")}
    shown = brushup("show", "one", "--home", full, "--json").json
    done = brushup("cache", "prune", "--home", full, "--older-than", "0s", "--all", "--json").json
    assert done["kept"] == 0
    assert stored(full) == set()
    again = brushup("show", "one", "--home", full, "--json").json
    assert {**again, "heartbeat_age": 0} == {**shown, "heartbeat_age": 0}
    (one / "contact_sheet.png").unlink()
    assert brushup("resume", "one", "--home", full, "--quiet").code == 0
    assert {name: (one / name).read_bytes() for name in before} == before
    sheet = len(models.renderer.drawn)
    assert 0 < sheet <= 24, "only the contact sheet's pictures were drawn again"


def stop_while_scoring(brushup: Brushup, models: Models, config: Path, home: Path) -> None:
    """Begin a run and end it in its sixth call of the scorer, when the pictures to be scored are drawn."""
    score, left = models.scorer.score, [5]

    def stop(items):
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted("stopped")
        return score(items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.scorer, "score", stop)
        assert brushup("optimize", config, "--run", "one", "--home", home, "--quiet").code == 130


def test_a_run_that_was_pruned_between_drawing_and_scoring_ends_the_same(
    brushup: Brushup, models, tmp_path: Path, finished: Path
) -> None:
    config, home = write_toml(tmp_path), tmp_path / "runs"
    stop_while_scoring(brushup, models, config, home)
    drawn = len(models.renderer.drawn)
    assert prune_cache(home, max_size=0, everything=True).kept == 0
    assert brushup("resume", "one", "--home", home, "--quiet").code == 0
    whole = finished / "runs" / "one"
    assert (home / "one" / "instructions.json").read_bytes() == (whole / "instructions.json").read_bytes()
    mine, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (home / "one", whole))
    assert mine["holdout"] == theirs["holdout"]
    assert mine["ledger"]["renders"] == theirs["ledger"]["renders"], "drawn again, charged once"
    assert len(models.renderer.drawn) > drawn


def test_a_lost_picture_that_cannot_be_drawn_again_is_a_failed_score(
    brushup: Brushup, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, home = write_toml(tmp_path), tmp_path / "runs"
    stop_while_scoring(brushup, models, config, home)
    prune_cache(home, max_size=0, everything=True)
    render, calls = models.renderer.render, []

    def fail_at_first(requests):
        calls.append(len(requests))
        return [RenderResult(None, "out of memory")] * len(requests) if len(calls) == 1 else render(requests)

    monkeypatch.setattr(models.renderer, "render", fail_at_first)
    assert brushup("resume", "one", "--home", home, "--quiet").code == 0
    store = RunStore.reader(home / "one" / "run.db")
    failed = store.rows("SELECT value, error FROM score WHERE error != ''")
    store.close()
    assert failed == [{"value": None, "error": LOST}] * calls[0]


def test_a_runs_pictures_tell_what_they_were_drawn_for(full: Path) -> None:
    store = RunStore.reader(full / "one" / "run.db")
    rows = store.rows(
        "SELECT key, arm, render.prompt, seed, text FROM render JOIN block ON block.id = block_id"
        " JOIN prompt ON prompt.id = prompt_id WHERE render.error = '' AND arm != 'naive' LIMIT 20"
    )
    store.close()
    for row in rows:
        with Image.open(ImageCache(full / "cache" / "images").path(row["key"])) as image:
            image.load()
            assert image.text["naive_prompt"] == row["text"]
            assert image.text["parameters"].startswith(f"{row['prompt']}\nSeed: {row['seed']}, Size: 8x8, ")
            assert image.text["instruction"]


def test_pictures_that_cannot_be_drawn_again_are_gaps_in_the_sheet(brushup: Brushup, models, full: Path) -> None:
    prune_cache(full, older_than=0, everything=True)
    models.renderer.broken = True
    assert brushup("resume", "one", "--home", full, "--quiet").code == 0
    assert (full / "one" / "contact_sheet.png").is_file()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY), ("12h", 43200), ("0s", 0), ("1.5m", 90), ("2w", 14 * DAY)]
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("5GiB", 5 * 1024**3), ("500mb", 500 * 10**6), ("0", 0), ("1.5 KiB", 1536), ("10B", 10)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "bad", [("--older-than", "30"), ("--older-than", "-1d"), ("--max-size", "5 cats"), ("--max-size", "")]
)
def test_bad_ages_and_sizes_are_refused(brushup: Brushup, full: Path, bad: tuple[str, str]) -> None:
    before = snapshot(full)
    brushup("cache", "prune", "--home", full, f"{bad[0]}={bad[1]}").refused(f"{bad[0]} is {bad[1]!r}", "expected")
    assert snapshot(full) == before


def test_what_was_pruned_is_told(brushup: Brushup, full: Path) -> None:
    text = brushup("cache", "prune", "--home", full, "--max-size", "0", "--dry-run").err
    for words in ("would free", "5 pictures, 1 stale", "pictures stay", "but runs refer to them; --all"):
        assert words in text
    assert isinstance(prune_cache(full, dry_run=True), Pruned)

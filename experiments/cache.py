"""Looking at the caches under a home, and making room in them without hurting a run."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from experiments.folder import RunFolder, all_folders
from experiments.status import has_facts, pulse, reading
from prompt_db.cache_store import cached_counts
from rendering.cache import CacheFile, ImageCache

STALE_AFTER = 3600.0
"""Seconds after which a temporary file belongs to no living write."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {
    "": 1,
    "B": 1,
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
}


@dataclass(frozen=True)
class CacheStats:
    """What the caches under a home hold.

    Attributes:
        pictures: pictures.
        bytes: size of all files, databases included.
        picture_bytes: size of the pictures.
        scores: cached scores.
        replies: cached LLM replies.
        oldest: when the picture that was unused for longest was last used, `time.time()`; None without pictures.
        newest: when a picture was last used; None without pictures.
        stale_files: temporary files that a killed process left behind.
        stale_bytes: their size.
    """

    pictures: int
    bytes: int
    picture_bytes: int
    scores: int
    replies: int
    oldest: float | None
    newest: float | None
    stale_files: int
    stale_bytes: int


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or with a dry run would remove.

    Attributes:
        pictures: pictures removed.
        stale_files: temporary files removed.
        freed: bytes of both.
        kept: pictures that stay.
        kept_bytes: their size.
        protected: pictures among them that only stay because a run needs them.
    """

    pictures: int
    stale_files: int
    freed: int
    kept: int
    kept_bytes: int
    protected: int


@dataclass(frozen=True)
class _Needs:
    """What runs need: pictures they refer to, and everything used since the first of the running ones began."""

    keys: set[str]
    since: float

    def __contains__(self, file: CacheFile) -> bool:
        return file.key in self.keys or file.used >= self.since


def cache_stats(home: Path, *, now: float | None = None) -> CacheStats:
    """Count what the home's cache and the runs' own caches hold; nothing is changed.

    Raises:
        BadInput: a cache's database is damaged, or of a newer schema.
    """
    files = list(_files(home))
    pictures, stale = [file for file in files if file.key], _stale(files, time.time() if now is None else now)
    counts = [cached_counts(folder / "cache.db") for folder in _folders(home)]
    databases = sum(path.stat().st_size for folder in _folders(home) for path in folder.glob("cache.db*"))
    return CacheStats(
        pictures=len(pictures),
        bytes=sum(file.size for file in files) + databases,
        picture_bytes=sum(file.size for file in pictures),
        scores=sum(scores for scores, _ in counts),
        replies=sum(replies for _, replies in counts),
        oldest=min((file.used for file in pictures), default=None),
        newest=max((file.used for file in pictures), default=None),
        stale_files=len(stale),
        stale_bytes=sum(file.size for file in stale),
    )


def prune_cache(
    home: Path,
    *,
    older_than: float | None = None,
    max_size: int | None = None,
    everything: bool = False,
    dry_run: bool = False,
    now: float | None = None,
) -> Pruned:
    """Remove pictures, the ones unused for longest first, and temporary files that nobody writes any more.

    Scores and replies stay: they are small. A run that needs a picture which is gone draws it again.

    Args:
        home: whose caches: its own and those of its runs.
        older_than: remove pictures that were not used for so many seconds.
        max_size: remove pictures until those left take at most so many bytes.
        everything: also remove pictures that runs refer to; those of running ones stay even then.
        dry_run: only say what would be removed.
        now: `time.time()`.

    Raises:
        BadInput: a run's facts cannot be read, so what it refers to is unknown; or the disk refuses.
    """
    now = time.time() if now is None else now
    files = list(_files(home))
    needs = _needs(home, now, everything=everything)
    pictures = sorted((file for file in files if file.key), key=lambda file: (file.used, file.key))
    left, doomed, protected = sum(file.size for file in pictures), [], 0
    for file in pictures:
        old = older_than is not None and now - file.used >= older_than
        if not old and (max_size is None or left <= max_size):
            continue
        if file in needs:
            protected += 1
        else:
            doomed.append(file)
            left -= file.size
    stale = _stale(files, now)
    if not dry_run:
        _remove([*doomed, *stale])
    freed = sum(file.size for file in (*doomed, *stale))
    return Pruned(len(doomed), len(stale), freed, len(pictures) - len(doomed), left, protected)


def parse_age(text: str) -> float:
    """Return the seconds of an age such as `30d`, `12h` or `2w`.

    Raises:
        BadInput: not an age.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if not found:
        raise BadInput(f"--older-than is {text!r}; expected a number and s, m, h, d or w, for example 30d")
    return float(found[1]) * _SECONDS[found[2]]


def parse_size(text: str) -> int:
    """Return the bytes of a size such as `5GiB`, `500MB` or `1024`.

    Raises:
        BadInput: not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = next((unit for unit in _BYTES if found and unit.lower() == found[2].lower()), None)
    if not found or unit is None:
        raise BadInput(f"--max-size is {text!r}; expected bytes, or a number and KiB, MiB, GiB, KB, MB ..., as in 5GiB")
    return int(float(found[1]) * _BYTES[unit])


def _folders(home: Path) -> Iterator[Path]:
    """Yield the cache folders there are: the home's, and those of runs with `storage.cache = "run"`."""
    for folder in (home / "cache", *(run.path / "cache" for run in all_folders(home))):
        if folder.is_dir():
            yield folder


def _files(home: Path) -> Iterator[CacheFile]:
    for folder in _folders(home):
        yield from ImageCache(folder / "images").files()


def _stale(files: Iterable[CacheFile], now: float) -> list[CacheFile]:
    return [file for file in files if not file.key and now - file.used >= STALE_AFTER]


def _needs(home: Path, now: float, *, everything: bool) -> _Needs:
    keys: set[str] = set()
    since = float("inf")
    for folder in all_folders(home):
        try:
            running = pulse(folder, now).status == "running"
            if running:
                since = min(since, _began(folder))
            if (running or not everything) and has_facts(folder):
                with reading(folder) as store:
                    keys.update(row["key"] for row in store.rows("SELECT key FROM render WHERE error = ''"))
        except BadInput as error:
            raise BadInput(
                f"run {folder.name!r} cannot be read, so which pictures it needs is unknown ({error}); "
                f"mend it or move {folder.path} away; nothing was removed"
            ) from None
    return _Needs(keys, since)


def _began(folder: RunFolder) -> float:
    """Return when a running run's process began to use the cache."""
    if has_facts(folder):
        with reading(folder) as store:
            found = store.rows("SELECT started FROM session ORDER BY id DESC LIMIT 1")
        if found:
            return float(found[0]["started"])
    return folder.config_file.stat().st_mtime


def _remove(files: Iterable[CacheFile]) -> None:
    for file in files:
        try:
            with suppress(FileNotFoundError):  # another process was quicker
                file.path.unlink()
        except OSError as error:
            raise BadInput(
                f"cannot remove {file.path}: {error.strerror or error}; check who may write to it, then prune again"
            ) from None

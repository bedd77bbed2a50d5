"""`brushup cache`: how big the cache of pictures, scores and replies is, and making room in it."""

import time
from dataclasses import asdict
from typing import Annotated

import typer

from cli.options import HOME, Home, Json
from cli.output import emit, say

cache_app = typer.Typer(
    name="cache",
    help="Pictures, scores and replies that runs share: count them, make room.",
    no_args_is_help=True,
    add_completion=False,
)


@cache_app.command()
def stats(home: Home = HOME, json: Json = False) -> None:
    """Count pictures, scores, replies, bytes and left-over temporary files, in the home's cache and the runs' own."""
    from experiments.cache import cache_stats

    found = cache_stats(home)
    if json:
        emit(asdict(found))
        return
    say(f"{found.pictures:,} pictures ({_size(found.picture_bytes)}), {_size(found.bytes)} in all")
    say(f"{found.scores:,} scores, {found.replies:,} LLM replies")
    if found.oldest is not None and found.newest is not None:
        say(f"pictures were last used between {_day(found.oldest)} and {_day(found.newest)}")
    if found.stale_files:
        say(
            f"{found.stale_files:,} stale temporary files ({_size(found.stale_bytes)}): brushup cache prune sweeps them"
        )


@cache_app.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option(help="Remove pictures unused for so long: 30d, 12h, 2w (s, m, h, d, w).")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Remove pictures, longest unused first, until they take so much: 5GiB, 500MB.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also pictures that runs refer to; a run at work keeps its own even so.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    home: Home = HOME,
    json: Json = False,
) -> None:
    """Remove pictures that no run refers to, and stale temporary files; a run draws again what it lacks."""
    from experiments.cache import parse_age, parse_size, prune_cache

    done = prune_cache(
        home,
        older_than=None if older_than is None else parse_age(older_than),
        max_size=None if max_size is None else parse_size(max_size),
        everything=everything,
        dry_run=dry_run,
    )
    if json:
        emit({**asdict(done), "dry_run": dry_run})
        return
    verb = "would free" if dry_run else "freed"
    say(f"{verb} {_size(done.freed)}: {done.pictures:,} pictures, {done.stale_files:,} stale temporary files")
    say(f"{done.kept:,} pictures stay ({_size(done.kept_bytes)})")
    if done.protected:
        hint = "" if everything else "; --all removes those of runs that are not at work"
        say(f"{done.protected:,} more would have gone, but runs refer to them{hint}")
    if older_than is None and max_size is None:
        say("no limit was given, so pictures stay: see --older-than and --max-size")


def _size(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))

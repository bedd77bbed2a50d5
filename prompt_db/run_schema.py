"""The tables of a run's `run.db`: append-only facts, from which every statistic is recomputed by replay."""

from sqlite_utils import Database

RENDER_CHUNK = "render/chunk"
"""Name of a fact: with how many pictures at once a run goes on whose renderer ran out of memory."""
SMALLER_CHUNK = "smaller-chunk"
"""Node of an event: memory ran out, and the renderer draws fewer pictures at once."""

_TABLES: dict[str, tuple[dict[str, type], tuple[str, ...]]] = {
    "prompt": ({"id": str, "split": str, "place": int, "text": str, "grp": str}, ("id",)),
    "block": (
        {"id": str, "split": str, "batch": int, "place": int, "replicate": int, "prompt_id": str, "seed": int},
        ("id",),
    ),
    "instruction": (
        {"id": str, "round": int, "child": int, "parent": str, "origin": str, "text": str, "retired_round": int},
        ("id",),
    ),
    "pull": (
        {"id": str, "round": int, "k": int, "arm": str, "batch": int, "status": str, "reason": str},
        ("id",),
    ),
    "refinement": (
        {"arm": str, "prompt_id": str, "replicate": int, "text": str, "error": str},
        ("arm", "prompt_id", "replicate"),
    ),
    "render": (
        {"arm": str, "block_id": str, "key": str, "prompt": str, "cached": int, "error": str},
        ("arm", "block_id"),
    ),
    "score": (
        {"arm": str, "block_id": str, "scorer": str, "revision": str, "value": float, "cached": int, "error": str},
        ("arm", "block_id", "scorer"),
    ),
    "gradient": ({"round": int, "arm": str, "text": str, "error": str}, ("round",)),
    "charge": (
        {
            "id": str,
            "kind": str,
            "status": str,
            "cached": int,
            "prompt_tokens": int,
            "completion_tokens": int,
            "usd": float,
        },
        ("id",),
    ),
    "unknown_call": ({"id": int, "charge_id": str, "kind": str, "session": int}, ("id",)),
    "busy": ({"id": int, "kind": str, "started": float, "ended": float}, ("id",)),
    "session": (
        {"id": int, "pid": int, "started": float, "loop_started": float, "ended": float, "outcome": str},
        ("id",),
    ),
    "heartbeat": ({"session": int, "at": float}, ("session",)),
    "event": (
        {"id": int, "session": int, "at": float, "node": str, "round": int, "work": str, "detail": str},
        ("id",),
    ),
    "fact": ({"name": str, "value": str}, ("name",)),
}


PRIMARY_KEYS: dict[str, str | tuple[str, ...]] = {
    name: key[0] if len(key) == 1 else key for name, (_, key) in _TABLES.items()
}


def _create_tables(database: Database) -> None:
    for name, (columns, _) in _TABLES.items():
        database.table(name).create(columns, pk=PRIMARY_KEYS[name], strict=True)


def _add_tokens_and_money(database: Database) -> None:
    """Let a charge say what it counts (`tokens`, `usd`), what was reserved for it, and whether that is an estimate."""
    for column in ("tokens INTEGER", "worst_tokens INTEGER", "worst_usd REAL", "estimated INTEGER"):
        database.execute(f"ALTER TABLE charge ADD COLUMN {column}")
    for column in ("tokens INTEGER", "usd REAL"):
        database.execute(f"ALTER TABLE unknown_call ADD COLUMN {column}")
    database.execute("UPDATE charge SET tokens = prompt_tokens + completion_tokens WHERE kind = 'llm'")


def _add_requests(database: Database) -> None:
    """Let a run tell every request that was sent to an LLM provider, with how it ended."""
    columns = {"id": int, "session": int, "charge_id": str, "at": float, "outcome": str}
    database.table("llm_request").create(columns, pk="id", strict=True)


def _add_negative_prompts(database: Database) -> None:
    """Let a refinement have a negative prompt, and a picture the one it was drawn with."""
    for table in ("refinement", "render"):
        database.execute(f"ALTER TABLE {table} ADD COLUMN negative TEXT NOT NULL DEFAULT ''")


def _add_unread_prompts(database: Database) -> None:
    """Let a picture say which end of its prompt no text encoder reads; NULL where nobody looked."""
    database.execute("ALTER TABLE render ADD COLUMN unread TEXT")


def _add_unread_tokens(database: Database) -> None:
    """Let a picture say how many tokens that end has."""
    database.execute("ALTER TABLE render ADD COLUMN unread_tokens INTEGER")


RUN_MIGRATIONS = (
    _create_tables,
    _add_tokens_and_money,
    _add_requests,
    _add_negative_prompts,
    _add_unread_prompts,
    _add_unread_tokens,
)

"""The facts of one run, in `HOME/<run>/run.db`.

Writes are upserts under ids that are functions of (run, round, k), so a step that runs twice after a kill leaves the
same rows. One `RunStore` per process writes; others open the file read-only (`RunStore.reader`).
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from core.records import Block, Instruction, Prompt, Refinement
from prompt_db.run_schema import PRIMARY_KEYS, RUN_MIGRATIONS
from prompt_db.schema import open_readonly, open_writable

Row = dict[str, Any]


class RunStore:
    """Typed access to the facts of a run."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._lock = threading.RLock()

    @classmethod
    def writer(cls, path: Path) -> "RunStore":
        """Open for the run's one writing process.

        Raises:
            BadInput: not writable, damaged, or of a newer schema.
        """
        return cls(open_writable(path, RUN_MIGRATIONS))

    @classmethod
    def reader(cls, path: Path) -> "RunStore":
        """Open read-only, also while another process writes.

        Raises:
            BadInput: missing, damaged, or of a newer schema.
        """
        return cls(open_readonly(path, RUN_MIGRATIONS))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Group writes: all of them or none."""
        with self._lock, self._db.atomic():
            yield

    def upsert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert or update facts by their table's primary key."""
        with self._lock:
            self._db.table(table).upsert_all([dict(row) for row in rows], pk=PRIMARY_KEYS[table])

    def append(self, table: str, row: Mapping[str, Any]) -> int:
        """Append a row to a table with a running number; return the number."""
        with self._lock:
            cursor = self._db.execute(
                f"INSERT INTO [{table}] ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
            return int(cursor.lastrowid or 0)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a query as dictionaries."""
        with self._lock:
            return list(self._db.query(sql, list(parameters)))

    def has_column(self, table: str, column: str) -> bool:
        """Say whether a table has a column; one of an earlier version, opened for reading, may lack it."""
        return bool(self.rows("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", [table, column]))

    def delete_reservation(self, charge: str) -> None:
        """Forget an intent to spend that came to nothing; charges that are done stay."""
        with self._lock:
            self._db.execute("DELETE FROM charge WHERE id = ? AND status = 'reserved'", [charge])

    # --- the run's fixed facts

    def set_fact(self, name: str, value: str) -> None:
        """Store a named text (config, digests, stop reason)."""
        self.upsert("fact", [{"name": name, "value": value}])

    def fact(self, name: str) -> str | None:
        """Return a named text, or None."""
        found = self.rows("SELECT value FROM fact WHERE name = ?", [name])
        return str(found[0]["value"]) if found else None

    def add_prompts(self, prompts: Sequence[Prompt]) -> None:
        """Store the run's naive prompts with their split."""
        self.upsert(
            "prompt",
            (
                {"id": p.id, "split": p.split, "place": place, "text": p.text, "grp": p.group}
                for place, p in enumerate(prompts)
            ),
        )

    def prompts(self, split: str | None = None) -> list[Prompt]:
        """Return the prompts (of a split), in their stored order."""
        where, parameters = ("WHERE split = ?", [split]) if split else ("", [])
        found = self.rows(f"SELECT id, text, split, grp FROM prompt {where} ORDER BY place", parameters)
        return [Prompt(id=row["id"], text=row["text"], split=row["split"], group=row["grp"]) for row in found]

    def add_blocks(self, blocks: Iterable[Block]) -> None:
        """Store blocks."""
        self.upsert("block", (block.__dict__ for block in blocks))

    def blocks(self, ids: Sequence[str]) -> list[Block]:
        """Return the blocks with these ids, in this order."""
        marks = ", ".join("?" * len(ids))
        known = {row["id"]: Block(**row) for row in self.rows(f"SELECT * FROM block WHERE id IN ({marks})", ids)}
        return [known[block_id] for block_id in ids]

    def all_blocks(self) -> dict[str, Block]:
        """Return every stored block by id."""
        return {row["id"]: Block(**row) for row in self.rows("SELECT * FROM block")}

    # --- arms

    def add_instructions(self, instructions: Iterable[Instruction]) -> None:
        """Store instructions with their lineage."""
        self.upsert(
            "instruction",
            (
                {"id": i.id, "round": i.round, "child": i.child, "parent": i.parent, "origin": i.origin, "text": i.text}
                for i in instructions
            ),
        )

    def instructions(self) -> list[Instruction]:
        """Return all instructions ever born, in order of birth."""
        found = self.rows("SELECT id, round, child, parent, origin, text FROM instruction ORDER BY round, child, id")
        return [Instruction(**row) for row in found]

    def retire(self, ids: Iterable[str], round_: int) -> None:
        """Take instructions out of the pool at the end of a round."""
        self.upsert("instruction", ({"id": arm, "retired_round": round_} for arm in ids))

    def retired(self) -> set[str]:
        """Return the ids of retired instructions."""
        return {row["id"] for row in self.rows("SELECT id FROM instruction WHERE retired_round IS NOT NULL")}

    # --- refinements and scores

    def add_refinement(self, arm: str, block: Block, refinement: Refinement) -> None:
        """Store what an arm made of a block's prompt."""
        row = {"arm": arm, "prompt_id": block.prompt_id, "replicate": block.replicate}
        self.upsert(
            "refinement", [{**row, "text": refinement.text, "negative": refinement.negative, "error": refinement.error}]
        )

    def refinements(self) -> dict[tuple[str, str, int], Row]:
        """Return all refinements by (arm, prompt id, replicate)."""
        found = self.rows("SELECT * FROM refinement")
        return {(row["arm"], row["prompt_id"], row["replicate"]): row for row in found}

    def raw_scores(self, scorer: str, split: str | None = None) -> dict[str, dict[str, float]]:
        """Return raw scores by arm and block id; failures are absent. `split` limits the blocks."""
        sql = (
            "SELECT arm, block_id, value FROM score JOIN block ON block.id = block_id"
            " WHERE scorer = ? AND value IS NOT NULL"
        )
        parameters: list[Any] = [scorer]
        if split:
            sql, parameters = sql + " AND split = ?", [*parameters, split]
        table: dict[str, dict[str, float]] = {}
        for row in self.rows(sql + " ORDER BY arm, block_id", parameters):
            table.setdefault(row["arm"], {})[row["block_id"]] = float(row["value"])
        return table

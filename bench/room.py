"""What a hub takes on disk, by table and index."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

from bench.client import BenchError


@dataclass(frozen=True, slots=True)
class Part:
    """A table, or an index of one (`columns` are then those it is of), and how much room it takes."""

    table: str
    name: str
    columns: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes on disk. What is free in the database is not in its parts."""

    parts: list[Part]
    database_bytes: int
    wal_bytes: int

    def shown(self, events: int) -> dict[str, Any]:
        taken = sum(part.size_bytes for part in self.parts)
        return {
            "mib": _mib(self.database_bytes),
            "wal_mib": _mib(self.wal_bytes),
            "bytes_per_event": round(taken / events, 1),
            "tables": {
                table: round(sum(part.size_bytes for part in self.parts if part.table == table) / events, 1)
                for table in dict.fromkeys(part.table for part in self.parts)
            },
            "parts": [
                {
                    "table": part.table,
                    "index": part.columns or None,
                    "name": part.name,
                    "mib": _mib(part.size_bytes),
                    "bytes_per_event": round(part.size_bytes / events, 2),
                    "share": round(part.size_bytes / taken, 4),
                }
                for part in self.parts
            ],
        }


def _mib(size: int) -> float:
    return round(size / 2**20, 2)


async def room_of(environment: Mapping[str, str]) -> Room:
    """What the hub with this environment takes, the largest part first. Raises `BenchError` where nobody can tell."""
    url = environment.get("DATABASE_URL")
    found = _sqlite(Path(environment["DATA_DIR"]) / "hub.sqlite3") if url is None else await _postgres(url)
    found.parts.sort(key=lambda part: -part.size_bytes)
    return found


# -- SQLite


def _sqlite(path: Path) -> Room:
    """By its own count of pages; this reads the whole file."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        tables = dict(connection.execute("SELECT name, tbl_name FROM sqlite_schema WHERE type IN ('table', 'index')"))
        # Pages, and not `pgsize`, which counts to four gigabytes and begins again.
        query = "SELECT name, pageno * page_size FROM dbstat, pragma_page_size WHERE aggregate = TRUE"
        sizes = connection.execute(query).fetchall()
        parts = [
            Part(tables.get(name, name), name, _columns(connection, name), size) for name, size in sizes if size > 0
        ]
    except sqlite3.OperationalError as error:
        raise BenchError(f"this SQLite cannot tell what its tables take: {error}") from None
    finally:
        connection.close()
    return Room(parts, _size(path), _size(path.with_name(f"{path.name}-wal")))


def _columns(connection: sqlite3.Connection, name: str) -> str:
    """Of an index; nothing for a table."""
    rows = connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (name,))
    return ", ".join(row[0] for row in rows)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# -- PostgreSQL

# What is too long for a row lies in a table of its own, which has an index.
_PARTS = """
SELECT coalesce(owner.relname, part.relname), part.relname,
  CASE WHEN owner.oid IS NULL THEN '' ELSE (
    SELECT string_agg(trim('"' FROM pg_get_indexdef(part.oid, number, TRUE)), ', ' ORDER BY number)
    FROM generate_series(1, i.indnkeyatts) AS number) END,
  pg_table_size(part.oid)
FROM pg_class part
LEFT JOIN pg_index i ON i.indexrelid = part.oid
LEFT JOIN pg_class owner ON owner.oid = i.indrelid
WHERE part.relnamespace = current_schema()::regnamespace AND part.relkind IN ('r', 'i')"""


async def _postgres(url: str) -> Room:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        parts = [Part(*row) for row in await connection.fetch(_PARTS) if row[3]]
        size = await connection.fetchval("SELECT pg_database_size(current_database())")
        try:
            wal = await connection.fetchval("SELECT sum(size) FROM pg_ls_waldir()")
        except asyncpg.InsufficientPrivilegeError:
            wal = 0
    finally:
        await connection.close()
    return Room(parts, int(size), int(wal))

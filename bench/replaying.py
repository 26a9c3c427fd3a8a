"""The rows that pushes have left in a hub's database, written once more with nothing but the database: its ceiling.

Each transaction writes what a push of that many events has written: into the same tables with the same indexes, one
statement a table, and moves the program's head. Values come ready from memory; nothing is decoded, checked or answered.
"""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.client import BenchError
from bench.stats import rate

_LEFT_OUT = frozenset(("log_heads", "log_segments"))
"""The head is moved, not added to; segments are no part of a push, nor are the terms of what is new."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000", "cache_size=-32768")


@dataclass(frozen=True, slots=True)
class Rows:
    """What one table has of one program, without the program's id, in the order of its key."""

    table: str
    columns: Sequence[str]
    kinds: Sequence[str]
    rows: Sequence[tuple[Any, ...]]

    def part(self, number: int, parts: int) -> Sequence[tuple[Any, ...]]:
        return self.rows[len(self.rows) * number // parts : len(self.rows) * (number + 1) // parts]


@dataclass(frozen=True, slots=True)
class Replayed:
    events: int
    rows: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        return rate(self.events, self.seconds)


async def replay(url: str | None, data_dir: Path, programs: Sequence[str], *, batch: int) -> Replayed:
    """Write the programs' rows again under other ids, as many at once as there are programs; on SQLite one by one."""
    if url is None:
        return await asyncio.to_thread(_on_sqlite, data_dir, programs, batch)
    return await _on_postgres(url, programs, batch)


def _transactions(tables: Sequence[Rows], batch: int) -> Iterator[list[tuple[Rows, Sequence[tuple[Any, ...]]]]]:
    events = next((len(one.rows) for one in tables if one.table == "events"), 0)
    if not events:
        raise BenchError("there are no events to write again")
    parts = -(-events // batch)
    for number in range(parts):
        yield [(one, part) for one in tables if (part := one.part(number, parts))]


# -- SQLite


def _on_sqlite(data_dir: Path, programs: Sequence[str], batch: int) -> Replayed:
    copy = data_dir / f"ceiling-{uuid.uuid4().hex[:8]}.sqlite3"
    with sqlite3.connect(f"file:{data_dir / 'hub.sqlite3'}?mode=ro", uri=True) as source:
        held = {program: _read_sqlite(source, program) for program in programs}
        schema = [row[0] for row in source.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")]
    source.close()
    target = sqlite3.connect(copy, isolation_level=None)
    try:
        for pragma in _PRAGMAS:
            target.execute(f"PRAGMA {pragma}")
        for statement in schema:
            if "sqlite_sequence" not in statement and "sqlite_stat" not in statement:
                target.execute(statement)
        work = [(program, list(_transactions(tables, batch))) for program, tables in held.items()]
        for program, _ in work:
            _make_head_sqlite(target, program)
        begun = time.perf_counter()
        for program, transactions in work:
            for transaction in transactions:
                target.execute("BEGIN IMMEDIATE")
                target.execute("SELECT position FROM log_heads WHERE tenant_id = ?", (program,)).fetchall()
                for table, rows in transaction:
                    marks = ", ".join("?" * (len(table.columns) + 1))
                    names = ", ".join(("tenant_id", *table.columns))
                    target.executemany(
                        f"INSERT INTO {table.table} ({names}) VALUES ({marks})", [(program, *row) for row in rows]
                    )
                target.execute("UPDATE log_heads SET position = position + ? WHERE tenant_id = ?", (batch, program))
                target.execute("COMMIT")
        return _replayed(held.values(), time.perf_counter() - begun)
    finally:
        target.close()
        for path in data_dir.glob(f"{copy.name}*"):
            path.unlink()


def _read_sqlite(source: sqlite3.Connection, program: str) -> list[Rows]:
    found = []
    for (table,) in source.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = source.execute(f"SELECT name, type, pk FROM pragma_table_info('{table}')").fetchall()
        names = [name for name, _, _ in columns]
        if "tenant_id" not in names or table in _LEFT_OUT or not _is_of_a_push(table):
            continue
        own = [name for name in names if name != "tenant_id"]
        key = [name for name, _, place in sorted(columns, key=lambda one: one[2]) if place] or own[:1]
        rows = source.execute(
            f"SELECT {', '.join(own)} FROM {table} WHERE tenant_id = ? ORDER BY {', '.join(key)}", (program,)
        ).fetchall()
        if rows:
            found.append(Rows(table, own, [""] * len(own), rows))
    return found


def _make_head_sqlite(target: sqlite3.Connection, program: str) -> None:
    target.execute(
        "INSERT INTO log_heads (tenant_id, position, chain_hash, recorded_ms, figures, epoch, epoch_position)"
        " VALUES (?, 0, x'', 0, '{}', 'e', 0)",
        (program,),
    )


# -- PostgreSQL


async def _on_postgres(url: str, programs: Sequence[str], batch: int) -> Replayed:
    connections = [await asyncpg.connect(url) for _ in programs]
    try:
        for connection in connections:
            # In one transaction with each batch it would be one more round trip, which is no work of the database's.
            await connection.execute("SET datacollect.every_tenant = 'on'")
        held = [await _read_postgres(connections[0], program) for program in programs]
        work = [(f"again-{uuid.uuid4().hex[:8]}", list(_transactions(tables, batch))) for tables in held]
        for name, _ in work:
            await connections[0].execute(
                "INSERT INTO log_heads (tenant_id, position, chain_hash, recorded_ms, figures, epoch, epoch_position)"
                " VALUES ($1, 0, '', 0, '{}', 'e', 0)",
                name,
            )
        await asyncio.gather(*(_warm(one) for one in connections))
        begun = time.perf_counter()
        await asyncio.gather(
            *(
                _write_postgres(connection, name, transactions, batch)
                for connection, (name, transactions) in zip(connections, work, strict=True)
            )
        )
        return _replayed(held, time.perf_counter() - begun)
    finally:
        for connection in connections:
            await connection.close()


async def _warm(connection: "asyncpg.Connection[Any]") -> None:
    await connection.fetchval("SELECT count(*) FROM log_heads")


async def _read_postgres(connection: "asyncpg.Connection[Any]", program: str) -> list[Rows]:
    found = []
    tables = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id'"
        " AND table_schema = current_schema() ORDER BY table_name"
    )
    for (table,) in tables:
        if table in _LEFT_OUT or not _is_of_a_push(table):
            continue
        columns = await connection.fetch(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = $1 AND table_schema = current_schema() ORDER BY ordinal_position",
            table,
        )
        own = [(name, kind) for name, kind in columns if name != "tenant_id"]
        names = ", ".join(name for name, _ in own)
        rows = await connection.fetch(f"SELECT {names} FROM {table} WHERE tenant_id = $1 ORDER BY {own[0][0]}", program)
        if rows:
            found.append(
                Rows(table, [name for name, _ in own], [kind for _, kind in own], [tuple(row) for row in rows])
            )
    return found


async def _write_postgres(
    connection: "asyncpg.Connection[Any]",
    name: str,
    transactions: Sequence[Sequence[tuple[Rows, Sequence[tuple[Any, ...]]]]],
    batch: int,
) -> None:
    for transaction in transactions:
        async with connection.transaction():
            await connection.fetch("SELECT position FROM log_heads WHERE tenant_id = $1 FOR UPDATE", name)
            for table, rows in transaction:
                arrays = ", ".join(f"${index}::{kind}[]" for index, kind in enumerate(table.kinds, 2))
                names = ", ".join(("tenant_id", *table.columns))
                await connection.execute(
                    f"INSERT INTO {table.table} ({names}) SELECT $1, * FROM unnest({arrays})",
                    name,
                    *map(list, zip(*rows, strict=True)),
                )
            await connection.execute("UPDATE log_heads SET position = position + $1 WHERE tenant_id = $2", batch, name)


# -- both


def _is_of_a_push(table: str) -> bool:
    """Not what is shared, nor what is made beside a push."""
    return table in {"events", "entities", "members", "audit_log", "event_places", "conflicts"}


def _replayed(held: "Sequence[list[Rows]] | Any", seconds: float) -> Replayed:
    tables = [one for program in held for one in program]
    events = sum(len(one.rows) for one in tables if one.table == "events")
    return Replayed(events, sum(len(one.rows) for one in tables), seconds)

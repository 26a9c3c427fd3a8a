"""Statements of SQLAlchemy's on SQLite, each in one trip to the connection's thread.

The driver would go there and back four times for one: to make a cursor, to run the statement, to fetch its rows, and to
close the cursor. A trip costs as much as a small statement.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import aiosqlite


def connect(database: str, **options: Any) -> aiosqlite.Connection:
    """As `aiosqlite.connect`, with a thread that keeps no process from ending, as SQLAlchemy has it."""
    connection = _Connection(lambda: sqlite3.connect(database, **options), iter_chunk_size=1)
    connection._thread.daemon = True
    return connection


class _Connection(aiosqlite.Connection):
    def cursor(self, factory: object = None) -> "_Cursor":  # type: ignore[override]
        del factory
        return _Cursor(self)


class _Cursor:
    """What SQLAlchemy asks of a cursor that gives all rows at once."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._rows: Sequence[Any] = ()
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> "_Cursor":
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> None:
        await self._run(sqlite3.Connection.execute, sql, parameters)

    async def executemany(self, sql: str, parameters: Any) -> None:
        await self._run(sqlite3.Connection.executemany, sql, parameters)

    async def fetchall(self) -> Sequence[Any]:
        return self._rows

    async def close(self) -> None:
        self._rows = ()

    async def _run(self, how: Callable[[sqlite3.Connection, str, Any], sqlite3.Cursor], sql: str, given: Any) -> None:
        def run() -> None:
            cursor = how(self._connection._conn, sql, given)
            self._rows = cursor.fetchall()
            self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
            cursor.close()

        await self._connection._execute(run)  # type: ignore[no-untyped-call]

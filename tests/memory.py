"""SQLite in memory, without threads or a disk: the real statements, thousands of times a second."""

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, CursorResult, Executable, NullPool, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection

from datacollect.db import Database, Reading, Tx, Within
from datacollect.db.database import StatementLog
from datacollect.db.metadata import metadata
from datacollect.db.portions import Portion
from datacollect.db.sqlite_units import fetch_portion

_ENGINE = create_engine("sqlite://", isolation_level="AUTOCOMMIT", poolclass=NullPool)
"""Of all of them, each of which is a connection: what has been compiled for one is known to the next."""


@cache
def _empty() -> bytes:
    """A database with all tables: making them takes longer than most of what is tried on them."""
    with _ENGINE.connect() as connection:
        metadata.create_all(connection)
        return _driver_of(connection).serialize()


def _driver_of(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)


class MemoryTx(Tx):
    dialect = "sqlite"

    def __init__(self, connection: Connection, statements: StatementLog) -> None:
        # Nothing under test uses what would tell the two kinds of connection apart.
        super().__init__(cast(AsyncConnection, connection), statements)
        self._sync = connection
        self._driver = _driver_of(connection)

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self._sync.execute(statement, parameters)

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        return self._driver.execute(sql, parameters).fetchall()

    def listed(self, values: Collection[str] | Collection[int]) -> str:
        return json.dumps(list(values))

    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        return fetch_portion(self._driver, sql, parameters, texts, most_bytes)

    async def run(self, sql: str, *parameters: Any) -> None:
        self._driver.execute(sql, parameters)

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._driver.executemany(sql, rows)


class MemoryDatabase(Database):
    """One connection, used by one task at a time."""

    dialect = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._connection = _ENGINE.connect()
        _driver_of(self._connection).deserialize(_empty())
        self._tx = MemoryTx(self._connection, self.statements)

    @contextlib.asynccontextmanager
    async def transaction(self, within: Within = None, *, events: int = 0) -> AsyncIterator[Tx]:
        await self._tx.run("BEGIN")
        try:
            yield self._tx
        except BaseException:
            await self._tx.run("ROLLBACK")
            raise
        await self._tx.run("COMMIT")

    @contextlib.asynccontextmanager
    async def reading(
        self, within: Within = None, *, seconds: float | None = None, in_order: bool = False
    ) -> AsyncIterator[Reading]:
        yield self._tx

    @contextlib.asynccontextmanager
    async def snapshot(self, within: Within = None) -> AsyncIterator[Reading]:
        yield self._tx

    async def check(self) -> None:
        await self._tx.fetch("SELECT 1")

    async def run_migration(self, migrate: Any) -> None:
        migrate(self._connection)

    async def close(self) -> None:
        self._connection.close()

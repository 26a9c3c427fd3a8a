"""SQLite in memory, without threads or a disk: the real statements, thousands of times a second."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

from sqlalchemy import Connection, CursorResult, Executable, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection

from datacollect.db import Database, Reading, Tx, Within
from datacollect.db.database import StatementLog
from datacollect.db.metadata import metadata
from datacollect.db.portions import Portion
from datacollect.db.sqlite import fetch_portion


class MemoryTx(Tx):
    dialect = "sqlite"

    def __init__(self, connection: Connection, statements: StatementLog) -> None:
        # Nothing under test uses what would tell the two kinds of connection apart.
        super().__init__(cast(AsyncConnection, connection), statements)
        self._sync = connection
        self._driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self._sync.execute(statement, parameters)

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        return self._driver.execute(sql, parameters).fetchall()

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
        self._engine = create_engine("sqlite://", isolation_level="AUTOCOMMIT")
        self._connection = self._engine.connect()
        metadata.create_all(self._connection)
        self._tx = MemoryTx(self._connection, self.statements)

    @contextlib.asynccontextmanager
    async def transaction(self, within: Within = None) -> AsyncIterator[Tx]:
        await self._tx.run("BEGIN")
        try:
            yield self._tx
        except BaseException:
            await self._tx.run("ROLLBACK")
            raise
        await self._tx.run("COMMIT")

    @contextlib.asynccontextmanager
    async def reading(self, within: Within = None) -> AsyncIterator[Reading]:
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
        self._engine.dispose()

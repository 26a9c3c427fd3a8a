"""What a unit of work on SQLite is: a connection's thread, the loop's own connection, and what is sent to the one writer."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, TypeVar

import aiosqlite
import msgspec
from sqlalchemy import CursorResult, Executable, Result

from datacollect.db.core import AsyncConnection
from datacollect.db.database import Reading, StatementLog, Tx
from datacollect.db.finishing import to_the_end
from datacollect.db.glances import Bet, Glances
from datacollect.db.portions import Portion, portion_of
from datacollect.db.turns import MANY

_T = TypeVar("_T")

BEGIN = "BEGIN IMMEDIATE"
_COMMIT = "COMMIT"

WAITING = "PRAGMA busy_timeout=10000"
"""For other processes that write."""

_MOST_WAITING = 300
"""Rows that wait for the next trip to the connection's thread: with more the trip is little beside the work."""

_FEW_ROWS = 100
"""Which may be read on the loop: an event can be about a group of thousands."""

_FEW_WRITTEN = 150
"""Rows that may be written there: an event is one, its entity another, and so is where that stands in lists."""

_MOST_HERE_BYTES = 1024 * 1024
"""Of texts, likewise: few rows can hold much. It is read once more in a thread, from its beginning."""

OpenReading = Callable[[], AbstractAsyncContextManager[Reading]]


class SqliteReading(Reading):
    dialect = "sqlite"

    def __init__(self, connection: AsyncConnection, statements: StatementLog, driver: aiosqlite.Connection) -> None:
        super().__init__(connection, statements)
        self._driver = driver

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        self._statements.add(sql)
        return list(await self._driver.execute_fetchall(sql, parameters))

    def listed(self, values: Collection[str] | Collection[int]) -> str:
        return listed(values)

    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        self._statements.add(sql)
        return await self._in_thread(fetch_portion, sql, parameters, texts, most_bytes)

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        # The driver has no public way to do several things in one trip.
        return await self._driver._execute(work, self._driver._conn, *arguments)  # type: ignore[no-untyped-call, no-any-return]


class SqliteGlance(Reading):
    """Statements on the loop's own connection, each, if need be, on one of the readers instead."""

    dialect = "sqlite"

    def __init__(self, glances: Glances, statements: StatementLog, reading: OpenReading) -> None:
        self._glances = glances
        self._statements = statements
        self._reading = reading

    async def execute(self, statement: Executable, parameters: Any = None) -> Result[Any]:
        found = self._glances.try_to_execute(statement, parameters)
        if found is None:
            async with self._reading() as view:
                return await view.execute(statement, parameters)
        self._statements.add(statement)
        return found()

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        found = self._glances.try_to(lambda opened: opened.execute(sql, parameters).fetchall())
        if found is None:
            async with self._reading() as view:
                return await view.fetch(sql, *parameters)
        self._statements.add(sql)
        return found

    def listed(self, values: Collection[str] | Collection[int]) -> str:
        return listed(values)

    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        here = min(most_bytes, _MOST_HERE_BYTES)
        found = self._glances.try_to(lambda opened: fetch_portion(opened, sql, parameters, texts, here))
        if found is None or (found.is_cut and here < most_bytes):
            async with self._reading() as view:
                return await view.fetch_portion(sql, *parameters, texts=texts, most_bytes=most_bytes)
        self._statements.add(sql)
        return found

    def for_rows(self, count: int) -> AbstractAsyncContextManager[Reading]:
        return super().for_rows(count) if count <= _FEW_ROWS else self._reading()


class Ended(NamedTuple):
    """What is known of the end of a unit."""

    changes: int
    """Rows that the connection has changed since it was opened."""
    seconds: float
    """Taken by the last statements of all, as the connection's thread saw it."""


_Write = tuple[str, Sequence[Sequence[Any]], bool]
"""A statement, the rows of its parameters, and whether it is to be run once for each of any number."""


class SqliteTx(SqliteReading, Tx):
    """A unit of work. To the connection's thread and back costs as much as a small statement, so what gives no rows goes
    there with the next statement that does, or with the end of the unit. What a unit that appends few events does, and
    the loop need not wait for, is done where the caller is: all but the commit, as a rule."""

    def __init__(
        self,
        connection: AsyncConnection,
        statements: StatementLog,
        driver: aiosqlite.Connection,
        bet: Bet,
        *begin: str,
        events: int = 0,
    ) -> None:
        super().__init__(connection, statements, driver)
        self._bet = bet
        self._waiting: list[_Write] = [(statement, ((),), False) for statement in begin]
        self._frame = len(begin)
        self.began = time.monotonic()
        self.events = events
        """Which it appends to a log."""
        self._rows = 0

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        await self.send()
        # SQLAlchemy closes a connection on which a statement is cancelled. This one is everybody's.
        return await to_the_end(super().execute(statement, parameters))

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        self._statements.add(sql)
        rows, rest = await self._do(_fetch_some, self._take_waiting(), sql, parameters, in_thread=_fetch_all)
        return rows if rest is None else rows + await self._in_thread(lambda _: rest.fetchall())

    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        await self.send()
        return await super().fetch_portion(sql, *parameters, texts=texts, most_bytes=most_bytes)

    async def run(self, sql: str, *parameters: Any) -> None:
        await self._add((sql, (parameters,), False))

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        await self._add((sql, rows, True))

    async def run_in_one_trip(self, *work: tuple[str, Sequence[Sequence[Any]]]) -> None:
        await self._add(*((sql, rows, True) for sql, rows in work))

    async def send(self) -> None:
        """What waits to be sent."""
        if self._waiting:
            await self._do(_write, self._take_waiting())

    async def end(self, *frame: str, undo: bool) -> Ended:
        """The end of the unit, with what waits to be sent, or without what is not to be. Raises `NotWritten` before it has
        come to the end."""
        waiting, frame = self._take_waiting(only_frame=undo), ("ROLLBACK TO unit", *frame) if undo else frame
        if frame[-1] != _COMMIT or not self._may_be_done_here(waiting):
            return await self._do(_end, waiting, frame)
        await self._do(_end, waiting, frame[:-1])
        return await self.run_frame(_COMMIT)

    async def run_frame(self, *statements: str) -> Ended:
        return await self._in_thread(_end, (), statements)

    def unit(self, *begin: str, events: int) -> "SqliteTx":
        """The same connection, for a unit that begins so and appends so many events."""
        return SqliteTx(self.connection, self._statements, self._driver, self._bet, *begin, events=events)

    def _may_be_done_here(self, writes: Sequence[_Write]) -> bool:
        is_small = 0 < self.events < MANY
        return is_small and self._bet.is_on and sum(len(rows) for _, rows, _ in writes) <= _FEW_WRITTEN

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        try:
            return await super()._in_thread(work, *arguments)
        except asyncio.CancelledError:
            # It is done all the same. What the loop does to end the unit must not come before that, or in between.
            with contextlib.suppress(ValueError):  # the connection may be closed meanwhile
                await to_the_end(super()._in_thread(_nothing))
            raise

    async def _do(
        self,
        work: Callable[..., _T],
        writes: Sequence[_Write],
        *arguments: Any,
        in_thread: Callable[..., _T] | None = None,
    ) -> _T:
        if self._may_be_done_here(writes):
            connection = self._driver._conn
            try:
                with _not_waiting(connection, writes):
                    return self._bet.make(lambda: work(connection, writes, *arguments))
            except _InTheWay:
                self._bet.lose()
        return await self._in_thread(in_thread or work, writes, *arguments)

    async def _add(self, *writes: _Write) -> None:
        for write in writes:
            if write[1]:
                self._statements.add(write[0])
                self._waiting.append(write)
                self._rows += len(write[1])
        if self._rows >= _MOST_WAITING:
            await self.send()

    def _take_waiting(self, *, only_frame: bool = False) -> Sequence[_Write]:
        waiting = self._waiting[: self._frame] if only_frame else self._waiting
        self._waiting, self._frame, self._rows = [], 0, 0
        return waiting


def listed(values: Collection[str] | Collection[int]) -> str:
    return msgspec.json.encode(list(values)).decode()


def fetch_portion(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[Any], texts: Sequence[str], most_bytes: int
) -> Portion[Sequence[Any]]:
    """See `Reading.fetch_portion`."""
    with contextlib.closing(connection.execute(sql, parameters)) as cursor:
        names = [column[0] for column in cursor.description]
        return portion_of(cursor, [names.index(text) for text in texts], most_bytes)


class _InTheWay(Exception):
    """Another process is writing, and a unit has not begun."""


@contextlib.contextmanager
def _not_waiting(connection: sqlite3.Connection, writes: Sequence[_Write]) -> Iterator[None]:
    """If the writes begin a transaction, not to wait for other processes that write. Raises `_InTheWay`."""
    if not writes or writes[0][0] != BEGIN:
        yield
        return
    connection.execute("PRAGMA busy_timeout=0")
    try:
        yield
    except (sqlite3.OperationalError, NotWritten) as error:
        cause = error.cause if isinstance(error, NotWritten) else error
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY and not connection.in_transaction:
            raise _InTheWay from None
        raise
    finally:
        connection.execute(WAITING)


class NotWritten(Exception):
    """A statement of a unit that was sent with its end has failed, for this cause; the end has not been reached."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


def _nothing(_: sqlite3.Connection) -> None:
    pass


def _write(connection: sqlite3.Connection, writes: Sequence[_Write]) -> None:
    for sql, rows, is_many in writes:
        if is_many:
            connection.executemany(sql, rows)
        else:
            connection.execute(sql, rows[0])


_Fetched = tuple[list[Any], sqlite3.Cursor | None]
"""Rows of a statement, and what has the others, if there may be any."""


def _fetch_some(
    connection: sqlite3.Connection, writes: Sequence[_Write], sql: str, parameters: Sequence[Any]
) -> _Fetched:
    _write(connection, writes)
    cursor = connection.execute(sql, parameters)
    rows = cursor.fetchmany(_FEW_ROWS)
    return rows, cursor if len(rows) == _FEW_ROWS else None


def _fetch_all(
    connection: sqlite3.Connection, writes: Sequence[_Write], sql: str, parameters: Sequence[Any]
) -> _Fetched:
    """Nothing is left open in the hands of somebody who is cancelled."""
    _write(connection, writes)
    return connection.execute(sql, parameters).fetchall(), None


def _end(connection: sqlite3.Connection, writes: Sequence[_Write], frame: Sequence[str]) -> Ended:
    try:
        _write(connection, writes)
    except Exception as error:
        raise NotWritten(error) from error
    begun = time.monotonic()
    for statement in frame:
        connection.execute(statement)
    return Ended(connection.total_changes, time.monotonic() - begun)

"""SQLite in WAL mode: one writer connection, a few read-only ones.

Every unit of work is a savepoint on the writer. Units that are waiting for the writer when one ends join its group, and
the group is committed, and so synced to disk, once; each `transaction()` block returns only after that commit. A unit
that fails is rolled back to its savepoint and takes nobody with it. What is committed is copied from the write-ahead log
into the database beside that (`checkpoints.py`).

The tenants take turns: however many units of one are waiting, those of another wait for one of them.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiosqlite
import msgspec
from sqlalchemy import Connection, CursorResult, Executable, event, exc
from sqlalchemy.pool import AsyncAdaptedQueuePool

from datacollect.db.checkpoints import WRITER_FRAMES, Checkpoints
from datacollect.db.core import AsyncConnection, AsyncEngine, connected, create_async_engine
from datacollect.db.database import Database, Reading, StatementLog, Tx, Within
from datacollect.db.finishing import to_the_end
from datacollect.db.glances import Glances
from datacollect.db.portions import Portion, portion_of
from datacollect.kernel.errors import StartupError, TookTooLong, Unavailable
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_T = TypeVar("_T")

_GROUP_LIMIT = 64
"""Units committed together at most: beyond it the first of a group would wait too long for its answer."""
_GROUP_SECONDS = 0.1
"""After which nobody joins a group any more, for the same reason."""

_LONG_SECONDS = 0.02
_LONG_COMMITS = 10
"""A unit that takes so long, and so many times as long as the last commit, ends its group; and so does the one before it,
as far as that is foreseen. A commit of its own is little beside a large push, and who pushes little in between has an
answer before the next large one."""

_SECONDS_TO_END = 5

_MOST_WAITING = 200
"""Rows that wait for the next trip to the connection's thread: with more the trip is little beside the work."""

_AWAY = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    )
)
_BROKEN = (sqlite3.Error, ValueError)
"""What a statement raises: a `ValueError` is the driver's word for a connection that is closed."""

_READERS = 4
_WRITER_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=10000",
    f"PRAGMA wal_autocheckpoint={WRITER_FRAMES}",
    "PRAGMA journal_size_limit=100663296",
    "PRAGMA cache_size=-32768",
    "PRAGMA temp_store=MEMORY",
)
_SNAPSHOTS = 16
_SNAPSHOT_PRAGMAS = ("PRAGMA busy_timeout=10000", "PRAGMA cache_size=-8192")
"""Without the readers' `mmap_size`: reading the whole database through it would count as memory of the process."""
_READER_PRAGMAS = ("PRAGMA busy_timeout=10000", "PRAGMA cache_size=-8192", "PRAGMA mmap_size=268435456")


class _SqliteReading(Reading):
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


class _SqliteGlance(Reading):
    """Statements on the loop's own connection, each, if need be, on one of the readers instead."""

    dialect = "sqlite"

    def __init__(self, database: "SqliteDatabase", glances: Glances) -> None:
        self._database = database
        self._statements = database.statements
        self._glances = glances

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        async with self._database.reading() as view:
            return await view.execute(statement, parameters)

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        found = self._glances.try_to(lambda opened: opened.execute(sql, parameters).fetchall())
        if found is None:
            async with self._database.reading() as view:
                return await view.fetch(sql, *parameters)
        self._statements.add(sql)
        return found

    def listed(self, values: Collection[str] | Collection[int]) -> str:
        return listed(values)

    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        found = self._glances.try_to(lambda opened: fetch_portion(opened, sql, parameters, texts, most_bytes))
        if found is None:
            async with self._database.reading() as view:
                return await view.fetch_portion(sql, *parameters, texts=texts, most_bytes=most_bytes)
        self._statements.add(sql)
        return found


_Write = tuple[str, Sequence[Sequence[Any]], bool]
"""A statement, the rows of its parameters, and whether it is to be run once for each of any number."""


class _SqliteTx(_SqliteReading, Tx):
    """A unit of work. To the connection's thread and back costs as much as a small statement, so what gives no rows goes
    there with the next statement that does, or with the end of the unit."""

    def __init__(
        self, connection: AsyncConnection, statements: StatementLog, driver: aiosqlite.Connection, *begin: str
    ) -> None:
        super().__init__(connection, statements, driver)
        self._waiting: list[_Write] = [(statement, ((),), False) for statement in begin]
        self._frame = len(begin)
        self.began = time.monotonic()
        self._rows = 0

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        await self.send()
        # SQLAlchemy closes a connection on which a statement is cancelled. This one is everybody's.
        return await to_the_end(super().execute(statement, parameters))

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        self._statements.add(sql)
        return await self._in_thread(_fetch, self._take_waiting(), sql, parameters)

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
            await self._in_thread(_write, self._take_waiting())

    async def end(self, *frame: str, undo: bool) -> int:
        """The end of the unit, with what waits to be sent, or without what is not to be. Gives how many rows the
        connection has changed since it was opened. Raises `_NotWritten` before it has come to the end."""
        waiting = self._take_waiting(only_frame=undo)
        return await self._in_thread(_end, waiting, ("ROLLBACK TO unit", *frame) if undo else frame)

    async def run_frame(self, *statements: str) -> int:
        return await self._in_thread(_end, (), statements)

    def unit(self, *begin: str) -> "_SqliteTx":
        """The same connection, for a unit that begins so."""
        return _SqliteTx(self.connection, self._statements, self._driver, *begin)

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


class _NotWritten(Exception):
    """A statement of a unit that was sent with its end has failed, for this cause; the end has not been reached."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


def _write(connection: sqlite3.Connection, writes: Sequence[_Write]) -> None:
    for sql, rows, is_many in writes:
        if is_many:
            connection.executemany(sql, rows)
        else:
            connection.execute(sql, rows[0])


def _fetch(
    connection: sqlite3.Connection, writes: Sequence[_Write], sql: str, parameters: Sequence[Any]
) -> Sequence[Any]:
    _write(connection, writes)
    return connection.execute(sql, parameters).fetchall()


def _end(connection: sqlite3.Connection, writes: Sequence[_Write], frame: Sequence[str]) -> int:
    try:
        _write(connection, writes)
    except Exception as error:
        raise _NotWritten(error) from error
    for statement in frame:
        connection.execute(statement)
    return connection.total_changes


class _Group:
    """Units of work that one COMMIT makes durable."""

    def __init__(self) -> None:
        self.units = 0
        self.has_long = False
        self._began = time.monotonic()
        self.kept: list[_SqliteTx] = []
        """Those of the units that are not undone."""
        self.committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_full(self) -> bool:
        return self.has_long or self.units >= _GROUP_LIMIT or time.monotonic() - self._began >= _GROUP_SECONDS


class _Line:
    """Who is waiting for the writer: of each tenant in the order in which they came, and the tenants in turn."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[TenantId | None, deque[asyncio.Future[None]]] = OrderedDict()
        self._served: TenantId | None = None
        self._long: set[TenantId | None] = set()
        """Those whose last unit took long."""

    def pass_by(self, within: Within) -> None:
        """Nobody is in line, and somebody goes on without."""
        self._served = _tenant(within)

    def join(self, within: Within) -> asyncio.Future[None]:
        """A place in line; its turn has come when it is done."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(_tenant(within), deque()).append(turn)
        return turn

    def __bool__(self) -> bool:
        """Whether anyone is in line. Who was cancelled may not have noticed yet, and will never take a turn."""
        while self._waiting:
            tenant, turns = next(iter(self._waiting.items()))
            while turns and turns[0].cancelled():
                turns.popleft()
            if turns:
                return True
            del self._waiting[tenant]
        return False

    def note(self, *, is_long: bool) -> None:
        """How the unit was that ends."""
        if is_long:
            self._long.add(self._served)
        else:
            self._long.discard(self._served)

    def expects_long(self) -> bool:
        """Somebody is in line, and their unit is likely to take long, as the last one of the tenant did."""
        self._send_behind()
        return bool(self) and next(iter(self._waiting)) in self._long

    def _send_behind(self) -> None:
        """Whose unit ends behind those who have come while it was at work."""
        if self._served in self._waiting:
            self._waiting.move_to_end(self._served)

    def call_next(self) -> None:
        """Somebody is in line."""
        self._send_behind()
        if self:
            self._served, turns = next(iter(self._waiting.items()))
            turns.popleft().set_result(None)


def _tenant(within: Within) -> TenantId | None:
    return within.tenant_id if isinstance(within, TenantScope) else None


class SqliteDatabase(Database):
    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        _require_writable(path)
        self._write_engine = _engine(f"sqlite+aiosqlite:///{path}", _WRITER_PRAGMAS, pool_size=1)
        # Nothing to undo when a reader comes back: each statement is a transaction of its own. A rollback would be one
        # more way to the connection's thread and back, which costs as much as the statement of a small pull.
        self._read_engine = _engine(
            f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true", _READER_PRAGMAS, pool_size=_READERS, resets=False
        )
        # Connections of their own, opened when they are needed: what lasts must not take the readers from the others.
        self._snapshot_engine = _engine(
            f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true", _SNAPSHOT_PRAGMAS, pool_size=_SNAPSHOTS
        )
        self._glances = Glances(path)
        self._glance = _SqliteGlance(self, self._glances)
        self._writer: _SqliteTx | None = None
        self._checkpoints = Checkpoints(path)
        self._beginning_anew: asyncio.Task[None] | None = None
        self._line = _Line()
        self._busy = False
        self._group: _Group | None = None
        self._commit_seconds = 0.0
        self._is_closed = False

    # -- writing

    @contextlib.asynccontextmanager
    async def transaction(self, within: Within = None) -> AsyncIterator[Tx]:
        with _unavailable():  # there is no second wall here
            await self._take_turn(within)
            group, tx = await self._begin_unit()
            try:
                yield tx
            except BaseException:
                # When SQLite has given up the whole transaction itself (disk full), undoing fails too: what the
                # caller must see is why.
                with contextlib.suppress(Unavailable):
                    await to_the_end(self._end_unit(group, tx, undo=True))
                raise
            await to_the_end(self._end_unit(group, tx))
            await asyncio.shield(group.committed)

    async def _begin_unit(self) -> tuple[_Group, _SqliteTx]:
        """Open a savepoint, in the group that is under way or in a new one. The turn ends if this fails."""
        opening = asyncio.ensure_future(self._open_unit())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])
            if opening.exception() is None:
                await to_the_end(self._end_unit(*opening.result(), undo=True))
            else:
                self._hand_over()
            raise
        except BaseException:
            self._hand_over()
            raise

    async def _open_unit(self) -> tuple[_Group, _SqliteTx]:
        """The statements that begin it are sent with its first."""
        writer = await self._open_writer()
        if self._group is not None:
            return self._group, writer.unit("SAVEPOINT unit")
        self._group = _Group()
        return self._group, writer.unit("BEGIN IMMEDIATE", "SAVEPOINT unit")

    async def _end_unit(self, group: _Group, tx: _SqliteTx, *, undo: bool = False) -> None:
        """Close the savepoint; the last unit in line commits for its whole group."""
        group.units += 1
        is_long = time.monotonic() - tx.began >= max(_LONG_SECONDS, _LONG_COMMITS * self._commit_seconds)
        self._line.note(is_long=is_long)
        group.has_long |= is_long
        cause: Exception | None = None
        try:
            try:
                await self._close_unit(group, tx, undo=undo)
            except _NotWritten as failure:
                # It is undone alone, as if its last statements had been sent before its end.
                cause = failure.cause
                await self._close_unit(group, tx, undo=True)
        except _BROKEN as error:
            await self._give_up(group, cause or error)
        finally:
            self._hand_over()
        if cause is not None:
            raise cause

    async def _close_unit(self, group: _Group, tx: _SqliteTx, *, undo: bool) -> None:
        frame = ["RELEASE unit"]
        if not self._is_last_of(group):
            await tx.end(frame.pop(), undo=undo)
        if not undo:
            group.kept.append(tx)
        if self._is_last_of(group):
            await self._commit(group, tx, *frame, undo=undo and bool(frame))

    def _is_last_of(self, group: _Group) -> bool:
        return not self._line or group.is_full or self._line.expects_long()

    async def _commit(self, group: _Group, tx: _SqliteTx, *frame: str, undo: bool = False) -> None:
        begun = time.monotonic()
        try:
            changes = await tx.end(*frame, "COMMIT", undo=undo)
        except _NotWritten:
            group.kept.remove(tx)
            raise
        self._commit_seconds = time.monotonic() - begun
        self._group = None
        group.committed.set_result(None)
        for unit in group.kept:
            self._tell(unit)
        self._checkpoints.committed(changes)

    async def _give_up(self, group: _Group, error: Exception) -> NoReturn:
        """Undo the whole group, and raise for everyone in it."""
        self._group = None
        if self._writer is not None:  # else it has been closed
            with contextlib.suppress(*_BROKEN):
                await self._writer.run_frame("ROLLBACK")
        failure = error
        if not isinstance(error, sqlite3.IntegrityError):
            failure = Unavailable()
            failure.__cause__ = error
        group.committed.set_exception(failure)
        group.committed.exception()  # marks it as seen: a group may have no other unit waiting for it
        raise failure

    async def _take_turn(self, within: Within = None) -> None:
        if not self._busy:
            self._busy = True
            self._line.pass_by(within)
            return
        turn = self._line.join(within)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # The turn had just been given: the group may be waiting for this unit to commit it.
                group, tx = await self._begin_unit()
                await to_the_end(self._end_unit(group, tx))
            raise

    def _hand_over(self) -> None:
        if self._checkpoints.is_due and self._group is None and not self._is_closed:
            # Those who have been committed do not wait for it, and whoever is next does.
            self._beginning_anew = asyncio.create_task(self._begin_log_anew())
        elif self._line:
            self._line.call_next()
        else:
            self._busy = False

    async def _begin_log_anew(self) -> None:
        try:
            await self._checkpoints.begin_anew()
        finally:
            self._hand_over()

    async def _open_writer(self) -> _SqliteTx:
        if self._is_closed:
            raise Unavailable()
        if self._writer is None or self._writer.connection.invalidated:
            connection = await self._write_engine.connect()
            # SQLAlchemy and Alembic are to see one transaction that never ends: ours are the savepoints below it.
            await connection.begin()
            self._writer = _SqliteTx(connection, self.statements, await _driver(connection))
        return self._writer

    # -- reading

    @contextlib.asynccontextmanager
    async def reading(
        self, within: Within = None, *, seconds: float | None = None, in_order: bool = False
    ) -> AsyncIterator[Reading]:
        del within, in_order
        with _unavailable():
            async with self._held(connected(self._read_engine)) as (connection, driver):
                try:
                    with _interrupting(driver, seconds):
                        yield _SqliteReading(connection, self.statements, driver)
                except (asyncio.CancelledError, Exception):  # of a time limit in the block, for one
                    await to_the_end(_stop(driver))
                    raise

    @contextlib.asynccontextmanager
    async def glancing(self, within: Within = None) -> AsyncIterator[Reading]:
        del within
        if self._is_closed:
            raise Unavailable()
        with _unavailable():
            yield self._glance

    @contextlib.asynccontextmanager
    async def snapshot(self, within: Within = None) -> AsyncIterator[Reading]:
        del within
        with _unavailable():
            async with self._held(self._snapshot_engine.connect()) as (connection, driver):
                view = _SqliteReading(connection, self.statements, driver)
                try:
                    await driver.execute("BEGIN")
                    await view.fetch("SELECT 1 FROM sqlite_schema LIMIT 1")  # it begins with the first row that is read
                    yield view
                finally:
                    with contextlib.suppress(*_BROKEN):
                        await to_the_end(driver.rollback())

    @contextlib.asynccontextmanager
    async def _held(
        self, opening: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[tuple[AsyncConnection, aiosqlite.Connection]]:
        if self._is_closed:
            raise Unavailable()
        async with opening as connection:
            try:
                yield connection, await _driver(connection)
            finally:
                if self._is_closed:
                    # The pool that it would go back to has been given up: nobody else would close it.
                    await to_the_end(connection.invalidate())

    async def check(self) -> None:
        async with self.reading() as view:
            await view.fetch("SELECT 1")

    async def tidy(self) -> None:
        """Let the write-ahead log begin anew. What is written while it is copied into the database keeps it from
        that, and with two processes that write, something always is: it would grow without end."""
        with _unavailable():
            await self._take_turn()
            await to_the_end(self._tidy())

    async def _tidy(self) -> None:
        group = self._group
        try:
            tx = await self._open_writer()
            if group is not None:  # it has waited for this turn
                await self._commit(group, tx)
            await tx.fetch("PRAGMA wal_checkpoint(RESTART)")
        except _BROKEN as error:
            if group is None or group.committed.done():
                raise
            await self._give_up(group, error)
        finally:
            self._hand_over()

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        async with self.transaction() as tx:
            assert isinstance(tx, _SqliteTx)
            await tx.send()  # what begins the unit
            await tx.connection.run_sync(migrate)

    async def close(self) -> None:
        if self._writer is not None:
            # Those in line are let through. One that does not end loses its connection under its feet.
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_SECONDS_TO_END), self.transaction():
                    pass
        self._is_closed = True
        await self._checkpoints.close()
        if self._writer is not None:
            await self._writer.connection.close()
            self._writer = None
        self._glances.close()
        await self._read_engine.dispose()
        await self._snapshot_engine.dispose()
        await self._write_engine.dispose()


async def _stop(driver: aiosqlite.Connection) -> None:
    """End what a reader that gave up has left running, and wait for that: the next one on this connection would
    stand behind it, for as long as it takes."""
    idle = asyncio.ensure_future(driver.rollback())  # behind it; there is nothing to undo
    while not idle.done():
        # More than once: what stands in line is not interrupted before it has begun.
        with contextlib.suppress(*_BROKEN):
            await driver.interrupt()
        await asyncio.wait([idle], timeout=0.05)
    with contextlib.suppress(*_BROKEN):  # it may have been closed meanwhile
        await idle


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """A database that is locked, full, read-only or gone is `Unavailable`; any other failure is a bug and stays one."""
    try:
        yield
    except exc.TimeoutError as error:  # every reader is busy
        raise Unavailable() from error
    except (exc.OperationalError, sqlite3.OperationalError) as error:
        cause = error.orig if isinstance(error, exc.OperationalError) else error
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _AWAY:
            raise Unavailable() from error
        raise


@contextlib.contextmanager
def _interrupting(driver: aiosqlite.Connection, seconds: float | None) -> Iterator[None]:
    """Stop what the connection is doing when the time is over."""
    if seconds is None:
        yield
        return
    late = False

    def interrupt() -> None:
        nonlocal late
        late = True
        # From this thread: the driver's own is busy with the statement.
        driver._conn.interrupt()

    timer = asyncio.get_running_loop().call_later(seconds, interrupt)
    try:
        yield
    except (exc.OperationalError, sqlite3.OperationalError) as error:
        cause = error.orig if isinstance(error, exc.OperationalError) else error
        if late and getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise TookTooLong() from None
        raise
    finally:
        timer.cancel()


def _engine(url: str, pragmas: Sequence[str], *, pool_size: int, resets: bool = True) -> AsyncEngine:
    engine = create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_reset_on_return="rollback" if resets else None,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(dbapi_connection: Any, _record: Any) -> None:
        cursor = dbapi_connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    return engine


async def _driver(connection: AsyncConnection) -> aiosqlite.Connection:
    raw = await connection.get_raw_connection()
    driver: aiosqlite.Connection | None = raw.driver_connection
    assert driver is not None
    return driver


def _require_writable(path: Path) -> None:
    try:
        # People's records: for the hub's own user only. SQLite gives its side files the permissions of the database.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("ab"):
            pass
    except OSError as error:
        raise StartupError(
            f"DATA_DIR {path.parent} cannot be written ({error.strerror}). Make it writable or set DATA_DIR."
        ) from error

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
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, TypeVar

import aiosqlite
import structlog
from sqlalchemy import Connection, event, exc
from sqlalchemy.pool import AsyncAdaptedQueuePool

from datacollect.db.checkpoints import Checkpoints
from datacollect.db.core import AsyncConnection, AsyncEngine, connected, create_async_engine
from datacollect.db.damage import found_damaged
from datacollect.db.database import Database, Reading, Tx, Within
from datacollect.db.finishing import to_the_end
from datacollect.db.glances import Bet, Glances
from datacollect.db.sqlite_units import BEGIN, WAITING, NotWritten, SqliteGlance, SqliteReading, SqliteTx
from datacollect.db.turns import Waiting, is_much_beside
from datacollect.kernel.errors import StartupError, TookTooLong, Unavailable
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_T = TypeVar("_T")

_log = structlog.get_logger(component="database")

_GROUP_LIMIT = 64
"""Units committed together at most: beyond it the first of a group would wait too long for its answer."""
_GROUP_SECONDS = 0.1
"""After which nobody joins a group any more, for the same reason."""

_LONG_SECONDS = 0.02
_LONG_COMMITS = 10
"""A unit that takes so long, and so many times as long as the last commit, ends its group; and so does the one before it,
as far as that is foreseen. A commit of its own is little beside a large push, and who pushes little in between has an
answer before the next large one."""

_QUICK_COMMIT_SECONDS = 0.002
"""Units that wait for each other share their commits, and as one they share fewer: whoever waits while one is made is next,
and does not meet those who are answered behind it. Where a commit takes longer, that costs more than the statements
that are saved."""
_COMMITS_LOOKED_AT = 16
"""The quickest of so many tells what the disk takes: of a process that is busy, a thread may wait long to go on."""

_REPLACED = (
    "Somebody has moved or replaced the database's file while the hub was running. Nothing is stored, and who pushes is told"
    " to come again. Stop the hub, put the file in its place, and start it: docs/how-to/restore-a-backup.md."
)

_SECONDS_TO_END = 5
_AGAIN_SECONDS = 0.05
"""Between two attempts to stop a statement: one that has not begun is not stopped."""

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
_DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_BROKEN = (sqlite3.Error, ValueError)
"""What a statement raises: a `ValueError` is the driver's word for a connection that is closed."""

_READERS = 4
_WRITER_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # as some are compiled: what is purged must not stay readable in the file
    WAITING,
    "PRAGMA wal_autocheckpoint=0",  # see `checkpoints.py`
    "PRAGMA journal_size_limit=100663296",
    "PRAGMA cache_size=-32768",
    "PRAGMA temp_store=MEMORY",
)
_SNAPSHOTS = 16
_SNAPSHOT_PRAGMAS = ("PRAGMA busy_timeout=10000", "PRAGMA cache_size=-8192")
"""Without the readers' `mmap_size`: reading the whole database through it would count as memory of the process."""
_READER_PRAGMAS = ("PRAGMA busy_timeout=10000", "PRAGMA cache_size=-8192", "PRAGMA mmap_size=268435456")


class _Group:
    """Units of work that one COMMIT makes durable."""

    def __init__(self) -> None:
        self.units = 0
        self.has_long = False
        self._fewest = sys.maxsize
        """Events that one of its units appends."""
        self._began = time.monotonic()
        self.kept: list[SqliteTx] = []
        """Those of the units that are not undone."""
        self.committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_full(self) -> bool:
        return self.has_long or self.units >= _GROUP_LIMIT or time.monotonic() - self._began >= _GROUP_SECONDS

    def has_room_for(self, events: int) -> bool:
        """Whether those in it may wait for a unit that appends so many."""
        return not self.is_full and not is_much_beside(events, self._fewest)

    def note(self, events: int, *, is_long: bool) -> None:
        """A unit more, which has appended so many."""
        self.units += 1
        self._fewest = min(self._fewest, events)
        self.has_long |= is_long


class _Line(Waiting[TenantId | None]):
    """Those who wait for the writer, how many events each is about to append, and whose units take long."""

    def __init__(self) -> None:
        super().__init__()
        self._served: TenantId | None = None
        self._long: set[TenantId | None] = set()
        """Those whose last unit took long."""
        self._events: dict[asyncio.Future[None], int] = {}

    def join_with(self, tenant_id: TenantId | None, events: int) -> asyncio.Future[None]:
        turn = self.join(tenant_id)
        self._events[turn] = events
        turn.add_done_callback(self._events.pop)
        return turn

    def pass_by(self, tenant_id: TenantId | None) -> None:
        """Nobody is in line, and somebody goes on without."""
        self._served = tenant_id

    def note(self, *, is_long: bool) -> None:
        """How the unit was that ends."""
        if is_long:
            self._long.add(self._served)
        else:
            self._long.discard(self._served)

    def goes_on_in(self, group: _Group) -> bool:
        """Somebody is in line whose unit may join the group. It may not if it is likely to take long, as the last one of
        the tenant did."""
        self.send_behind(self._served)
        return bool(self) and self.first not in self._long and group.has_room_for(self._events[self.first_turn])

    def call_next(self) -> None:
        """Somebody is in line. Whose unit ends is behind those who have come while it was at work."""
        self.send_behind(self._served)
        if self:
            self._served = self.call_first()


def _tenant(within: Within) -> TenantId | None:
    return within.tenant_id if isinstance(within, TenantScope) else None


class SqliteDatabase(Database):
    dialect = "sqlite"

    most_events_as_one = 100
    """What other tenants wait for, one at a time. More would save little: a hundred small pushes share their statements."""

    most_events_of_each = 5
    """Of ten events each, eight clients append a tenth fewer as one: the statements they save are calls, and what shares
    statements shares fewer commits."""

    def __init__(self, path: Path, *, beside_a_hub: bool = False) -> None:
        """`beside_a_hub` says that another process may be writing all the time."""
        super().__init__()
        self._path = path
        _require_writable(path)
        self._file = _identity_of(path)
        self._is_told = False
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
        self._bet = Bet()
        self._glances = Glances(path, self._bet)
        self._glance = SqliteGlance(self._glances, self.statements, self.reading)
        self._writer: SqliteTx | None = None
        self._checkpoints = Checkpoints(path, beside_a_hub=beside_a_hub)
        self._beside_a_hub = beside_a_hub
        self._beginning_anew: asyncio.Task[None] | None = None
        self._line = _Line()
        self._busy = False
        self._group: _Group | None = None
        self._commit_seconds = 0.0
        self._changes = 0
        self._on_disk_seconds: deque[float] = deque(maxlen=_COMMITS_LOOKED_AT)
        self._is_closed = False

    # -- writing

    @property
    def appends_as_one(self) -> bool:
        return min(self._on_disk_seconds, default=0.0) < _QUICK_COMMIT_SECONDS

    @contextlib.asynccontextmanager
    async def transaction(self, within: Within = None, *, events: int = 0) -> AsyncIterator[Tx]:
        with self._guarded():  # there is no second wall here
            await self._take_turn(within, events=events)
            group, tx = await self._begin_unit(events=events)
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

    async def _begin_unit(self, *, events: int = 0) -> tuple[_Group, SqliteTx]:
        """Open a savepoint, in the group that is under way or in a new one. The turn ends if this fails."""
        if self._is_open(self._writer):
            return self._open_unit(self._writer, events)
        if self._group is not None:  # what is in it has gone with the connection
            self._fail(self._group, Unavailable())
        try:
            writer = await to_the_end(self._open_writer())
        except BaseException:
            self._hand_over()
            raise
        return self._open_unit(writer, events)

    def _open_unit(self, writer: SqliteTx, events: int) -> tuple[_Group, SqliteTx]:
        """The statements that begin it are sent with its first."""
        if self._group is not None:
            return self._group, writer.unit("SAVEPOINT unit", events=events)
        self._group = _Group()
        return self._group, writer.unit(BEGIN, "SAVEPOINT unit", events=events)

    async def _end_unit(self, group: _Group, tx: SqliteTx, *, undo: bool = False) -> None:
        """Close the savepoint; the last unit in line commits for its whole group."""
        is_long = time.monotonic() - tx.began >= max(_LONG_SECONDS, _LONG_COMMITS * self._commit_seconds)
        self._line.note(is_long=is_long)
        group.note(tx.events, is_long=is_long)
        cause: Exception | None = None
        try:
            try:
                await self._close_unit(group, tx, undo=undo)
            except NotWritten as failure:
                # It is undone alone, as if its last statements had been sent before its end.
                cause = failure.cause
                await self._close_unit(group, tx, undo=True)
        except _BROKEN as error:
            await self._give_up(group, cause or error)
        finally:
            self._hand_over()
        if cause is not None:
            raise cause

    async def _close_unit(self, group: _Group, tx: SqliteTx, *, undo: bool) -> None:
        frame = ["RELEASE unit"]
        if not self._is_last_of(group):
            await tx.end(frame.pop(), undo=undo)
        if not undo:
            group.kept.append(tx)
        if self._is_last_of(group):
            await self._commit(group, tx, *frame, undo=undo and bool(frame))

    def _is_last_of(self, group: _Group) -> bool:
        return not self._line.goes_on_in(group)

    async def _commit(self, group: _Group, tx: SqliteTx, *frame: str, undo: bool = False) -> None:
        self._require_own_file()
        begun = time.monotonic()
        try:
            ended = await tx.end(*frame, "COMMIT", undo=undo)
        except NotWritten:
            group.kept.remove(tx)
            raise
        self._commit_seconds = time.monotonic() - begun
        if ended.changes != self._changes:  # else nothing had to go to the disk
            self._on_disk_seconds.append(ended.seconds)
            self._changes = ended.changes
        self._group = None
        group.committed.set_result(None)
        for unit in group.kept:
            self._tell(unit)
        self._checkpoints.committed(ended.changes)

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
        self._fail(group, failure)
        raise failure

    def _fail(self, group: _Group, failure: Exception) -> None:
        self._group = None
        group.committed.set_exception(failure)
        group.committed.exception()  # marks it as seen: a group may have no other unit waiting for it

    async def _take_turn(self, within: Within = None, *, events: int = 0) -> None:
        if not self._busy:
            self._busy = True
            self._line.pass_by(_tenant(within))
            return
        turn = self._line.join_with(_tenant(within), events)
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
            await self._begun_anew()
        except _BROKEN as error:  # the hub has written all the while, for one
            self._checkpoints.put_off()
            _log.warning("database.checkpoint_failed", reason=getattr(error, "sqlite_errorname", type(error).__name__))
        finally:
            self._hand_over()

    async def _begun_anew(self) -> None:
        async with self._nobody_else_writing():
            await self._checkpoints.begin_anew()

    @contextlib.asynccontextmanager
    async def _nobody_else_writing(self) -> AsyncIterator[None]:
        """In no other process. For whoever holds the writer, between two units."""
        writer = self._writer
        if not self._beside_a_hub or not self._is_open(writer):
            yield
            return
        await writer.run_frame(BEGIN)
        try:
            yield
        finally:
            await writer.run_frame("ROLLBACK")

    def _is_open(self, writer: SqliteTx | None) -> TypeGuard[SqliteTx]:
        return not self._is_closed and writer is not None and not writer.connection.invalidated

    async def _open_writer(self) -> SqliteTx:
        if self._is_closed:
            raise Unavailable()
        if not self._is_open(self._writer):
            connection = await self._write_engine.connect()
            if self._is_closed:  # meanwhile, and nobody else knows of it
                await connection.invalidate()
                raise Unavailable()
            # SQLAlchemy and Alembic are to see one transaction that never ends: ours are the savepoints below it.
            await connection.begin()
            self._writer = SqliteTx(connection, self.statements, await _driver(connection), self._bet)
        return self._writer

    # -- reading

    @contextlib.asynccontextmanager
    async def reading(
        self, within: Within = None, *, seconds: float | None = None, in_order: bool = False
    ) -> AsyncIterator[Reading]:
        del within, in_order
        with self._guarded():
            async with self._held(connected(self._read_engine)) as (connection, driver):
                try:
                    with _interrupting(driver, seconds):
                        yield SqliteReading(connection, self.statements, driver)
                except (asyncio.CancelledError, Exception):  # of a time limit in the block, for one
                    await to_the_end(_stop(driver))
                    raise

    @contextlib.asynccontextmanager
    async def glancing(self, within: Within = None) -> AsyncIterator[Reading]:
        del within
        if self._is_closed:
            raise Unavailable()
        with self._guarded():
            yield self._glance

    @contextlib.asynccontextmanager
    async def snapshot(self, within: Within = None) -> AsyncIterator[Reading]:
        del within
        with self._guarded():
            async with self._held(self._snapshot_engine.connect()) as (connection, driver):
                view = SqliteReading(connection, self.statements, driver)
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

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """What a block raises that had the database closed under its feet is `Unavailable`, too."""
        try:
            with _unavailable():
                yield
        except (exc.DBAPIError, *_BROKEN) as error:
            if self._is_closed:
                raise Unavailable() from error
            raise

    def _require_own_file(self) -> None:
        """What is written to a file that has been moved or replaced nobody finds again. Raises `sqlite3.OperationalError`."""
        if _identity_of(self._path, unknown=self._file) == self._file:
            self._is_told = False
            return
        if not self._is_told:
            self._is_told = True
            _log.error("database.file_replaced", help=_REPLACED)
        raise sqlite3.OperationalError("the database's file was moved or replaced")

    async def check(self) -> None:
        async with self.reading() as view:
            await view.fetch("SELECT 1")
        try:
            self._require_own_file()
        except sqlite3.OperationalError as error:
            raise Unavailable() from error

    async def tidy(self) -> None:
        """Let the write-ahead log begin anew. What is written while it is copied into the database keeps it from
        that, and with two processes that write, something always is: it would grow without end."""
        with self._guarded():
            await self._take_turn()
            await to_the_end(self._between_units(self._begun_anew))

    async def cut_log(self) -> None:
        with self._guarded():
            await self._take_turn()
            await to_the_end(self._between_units(self._checkpoints.cut))

    async def _between_units(self, work: Callable[[], Awaitable[None]]) -> None:
        """For whoever has the turn, which ends with the work."""
        group = self._group
        try:
            tx = await self._open_writer()
            if group is not None:  # it has waited for this turn
                await self._commit(group, tx)
            await work()
        except (*_BROKEN, Unavailable) as error:
            if group is None or group.committed.done():
                raise
            await self._give_up(group, error)
        finally:
            self._hand_over()

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        async with self.transaction() as tx:
            assert isinstance(tx, SqliteTx)
            await tx.send()  # what begins the unit
            await tx.connection.run_sync(migrate)

    async def close(self) -> None:
        if self._writer is not None or self._busy:
            # Those in line are let through. One that does not end loses its connection under its feet.
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_SECONDS_TO_END), self.transaction():
                    pass
        self._is_closed = True
        self._bet.end()  # the thread closes the writer: the loop must not use it meanwhile
        await self._checkpoints.close()
        self._glances.close()
        await self._read_engine.dispose()
        await self._snapshot_engine.dispose()
        # Last, as it copies the log into the database then. And at once: rolled back before it is closed, it would store
        # what a unit that goes on writes in between.
        if self._writer is not None:
            await self._writer.connection.invalidate()
            self._writer = None
        await self._write_engine.dispose()


async def _stop(driver: aiosqlite.Connection) -> None:
    """End what a reader that gave up has left running, and wait for that: the next one on this connection would
    stand behind it, for as long as it takes."""
    idle = asyncio.ensure_future(driver.rollback())  # behind it; there is nothing to undo
    while not idle.done():
        # More than once: what stands in line is not interrupted before it has begun.
        with contextlib.suppress(*_BROKEN):
            await driver.interrupt()
        await asyncio.wait([idle], timeout=_AGAIN_SECONDS)
    with contextlib.suppress(*_BROKEN):  # it may have been closed meanwhile
        await idle


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """A database that is locked, full, read-only or gone is `Unavailable`; any other failure is a bug and stays one."""
    try:
        yield
    except exc.TimeoutError as error:  # every reader is busy
        raise Unavailable() from error
    except (exc.DatabaseError, sqlite3.DatabaseError) as error:
        cause = error.orig if isinstance(error, exc.DatabaseError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code in _AWAY:
            raise Unavailable() from error
        if code in _DAMAGED:
            raise found_damaged(str(cause)) from error
        raise


@contextlib.contextmanager
def _interrupting(driver: aiosqlite.Connection, seconds: float | None) -> Iterator[None]:
    """Stop what the connection is doing when the time is over, and what it begins after that."""
    if seconds is None:
        yield
        return
    loop, late = asyncio.get_running_loop(), False
    timer: asyncio.TimerHandle

    def interrupt() -> None:
        nonlocal late, timer
        late, timer = True, loop.call_later(_AGAIN_SECONDS, interrupt)
        # From this thread: the driver's own is busy with the statement.
        driver._conn.interrupt()

    timer = loop.call_later(seconds, interrupt)
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
        # The loop uses them where it need not wait, while nobody else does.
        connect_args={"check_same_thread": False},
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


def _identity_of(path: Path, unknown: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Which file it is; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError:  # a disk that is away for a moment, say
        return unknown
    return found.st_dev, found.st_ino


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

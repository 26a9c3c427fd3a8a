"""PostgreSQL through asyncpg, pooled by SQLAlchemy.

The pool runs in autocommit and transactions are opened on the driver's connection, so that Core statements and
hand-written ones share one transaction without SQLAlchemy opening its own.

The tenant of a unit is set with its BEGIN, in the same round trip, and only for that transaction (`SET LOCAL`): what is
set for a session stays on a connection that the pool, or a PgBouncer in transaction mode, hands to somebody else. That
is why reading within a tenant takes a transaction too. `walls.py` says what the database does with it.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import asyncpg
import structlog
from sqlalchemy import Connection, CursorResult, Executable, exc, make_url

from datacollect.db.core import AsyncConnection, AsyncEngine, connected, create_async_engine
from datacollect.db.damage import found_damaged
from datacollect.db.database import EVERY_TENANT, Database, EveryTenant, Reading, StatementLog, Tx, Within
from datacollect.db.finishing import to_the_end
from datacollect.db.lines import Line
from datacollect.db.portions import Portion, portion_from_postgres, portion_in_postgres
from datacollect.db.turns import MANY
from datacollect.db.walls import EVERY_TENANT_SETTING, naming, naming_every_tenant
from datacollect.kernel.errors import StartupError, StillLocked, TookTooLong, Unavailable
from datacollect.kernel.identity import TenantScope
from datacollect.kernel.ids import TenantId

_T = TypeVar("_T")

_log = structlog.get_logger(component="database")

_SECONDS_TO_END = 5
_CONNECT_SECONDS = 5
_COMMAND_SECONDS = 60
_IDLE_SECONDS = 30
"""The longest pause between two statements of a unit that writes, after which PostgreSQL undoes it: the hub's machine may be
gone, and what the unit holds others wait for. So it is shorter than they wait. The hub itself pauses for what it computes,
0.4 s at the worst (four pushes of 40,000 events at once), and never for anybody else."""
_GONE = {
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "50s",
}
"""After so long PostgreSQL takes a machine that no longer answers for gone, whatever it was doing for it: within a minute.
Linux would wait for two hours."""
_MIGRATION_SECONDS = 24 * 3600
_TABLE_SECONDS = 3.0
"""How long a migration waits for a table that others use. Meanwhile all who come to it wait behind the migration, and may wait for
what it holds already."""
_REST_SECONDS = 2.0
"""For those who have waited, before it is tried again."""
_PATIENCE_SECONDS = 40.0
"""After which a migration is given up: less than a process that replaces another may take to start."""
_MIGRATION_LOCK = 0x6461_7461_636F_6C6C
PLANNED_ONCE = (
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off"
)
"""For reading within a tenant: its keys are the way to the rows whoever it is (`tests/db/test_query_plans.py`). Left to
itself, PostgreSQL plans each page of a pull anew, which costs more than reading it. And it reads the rows of all
tenants in turn where it expects many of this one; and takes the wall for a condition
that few rows meet: before a table has statistics it would collect the whole rest of the log and sort it for ten events."""

_BY_KEY = (
    "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
    " SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off;"
    " SET LOCAL idle_in_transaction_session_timeout = '2min'"
)
"""For snapshots: they walk through a program by its keys, page by page, whatever the statistics say of it; and they rest
while their reader is slow."""

UNSORTED = "SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off"
"""Where the order can be had from an index. Where it cannot, PostgreSQL sorts all the same."""

_NOT_COMPILED = "SET LOCAL jit = off"
"""For each unit. PostgreSQL before 18 compiles whatever cannot go without a way that is turned off here, which takes
hundreds of milliseconds: see `docs/decisions/0065-nothing-is-compiled.md`."""

_AS_LONG_AS_IT_TAKES = (
    "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
"""For migrations: what operators set for their users' statements is about requests."""

_AS_LONG_AS_WE_LIVE = """
DO $$ BEGIN
  PERFORM set_config('client_connection_check_interval', '2s', true);
EXCEPTION WHEN OTHERS THEN NULL;  -- where the server's system cannot tell
END $$"""
"""For migrations, too. Otherwise the server goes on for a hub that was killed until its statement is done, which may be an index
on a large table; whatever it has changed waits for that, and the hub that is started next."""

_IN_USE = (
    "The tables cannot be changed while others use them: a hub of the release before, a backup, or somebody's own transaction"
    " (pg_stat_activity shows whose). Stop them, or wait for their end, and start again. Nothing was changed."
)

_WALL_DOWN = {EVERY_TENANT_SETTING: "on", "enable_bitmapscan": "off", "jit": "off"}
"""The policies stay, and so does what they make the planner expect."""

_MOST_CONNECTIONS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
  - COALESCE(current_setting('reserved_connections', true), '0')::int,
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()), pg_backend_pid()"""

_SPARED_THE_DISK = """
SELECT name FROM unnest(ARRAY['fsync', 'full_page_writes', 'synchronous_commit']) AS name
WHERE current_setting(name) = 'off' ORDER BY name"""

_AS_ELSEWHERE = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "sslcrl",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "application_name",
        "options",
        "target_session_attrs",
    }
)
"""What PostgreSQL's own clients read in a URL, and asyncpg in the same way; it comes with most that are handed out."""
_PASSED_OVER = frozenset({"connect_timeout", "channel_binding"})
"""Likewise, and nothing that the hub goes by."""

_ADVICE = (
    "look at statement_timeout of the hub's role and database (SELECT * FROM pg_db_role_setting): statements of the hub may"
    f" take up to {_COMMAND_SECONDS} seconds"
)

_DAMAGED = (
    asyncpg.DataCorruptedError,
    asyncpg.IndexCorruptedError,
    asyncpg.exceptions.PostgresIOError,  # of a file of the server
)
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,  # a server that has become a standby
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says when a connection ends between two of its own steps
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.TooManyConnectionsError,
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.IdleSessionTimeoutError,
    asyncpg.exceptions.TransactionTimeoutError,
    exc.InterfaceError,
    exc.TimeoutError,
    TimeoutError,
)

_NOT_GIVEN = (
    asyncpg.LockNotAvailableError,  # where a `lock_timeout` is set, as operators may
    asyncpg.DeadlockDetectedError,
)
_CROSSED = (*_NOT_GIVEN, asyncpg.InvalidCachedStatementError)
"""What others do beside a unit ends it, and no mistake of its own: the same goes through when it is tried again. A release that
changes tables while this one serves holds them in an order that nobody else keeps to, and outdates prepared statements."""

_NOT_IN_TIME = (TimeoutError, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)
"""What ends who waits for a lock: the hub's patience, or what operators have set."""


class _PostgresReading(Reading):
    dialect = "postgresql"

    def __init__(
        self, connection: AsyncConnection, statements: StatementLog, driver: "asyncpg.Connection[Any]"
    ) -> None:
        super().__init__(connection, statements)
        self._driver = driver

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        self._statements.add(sql)
        return await self._driver.fetch(sql, *parameters)

    def listed(self, values: Collection[str] | Collection[int]) -> list[Any]:
        return list(values)

    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        bounded = portion_in_postgres(sql, texts, len(parameters))
        return portion_from_postgres(await self.fetch(bounded, *parameters, most_bytes), texts, most_bytes)


class _PostgresTx(_PostgresReading, Tx):
    async def fetch_locked(self, sql: str, *parameters: Any) -> Sequence[Any]:
        try:
            return await self.fetch(sql, *parameters)
        except _NOT_IN_TIME as late:
            raise StillLocked() from late

    async def run(self, sql: str, *parameters: Any) -> None:
        self._statements.add(sql)
        await self._driver.execute(sql, *parameters)

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._statements.add(sql)
            await self._driver.executemany(sql, rows)


class _JoinedTx(_PostgresTx):
    """A unit on a connection that holds the work of others. A statement that is cancelled would take them with it."""

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return await to_the_end(super().execute(statement, parameters))

    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        return await to_the_end(super().fetch(sql, *parameters))

    async def run(self, sql: str, *parameters: Any) -> None:
        await to_the_end(super().run(sql, *parameters))

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        await to_the_end(super().run_many(sql, rows))


@dataclass(frozen=True, slots=True)
class _Opened:
    """Implements `lines.Open`."""

    connection: AsyncConnection
    driver: "asyncpg.Connection[Any]"
    statements: StatementLog

    def unit(self, *, joins: bool) -> Tx:
        return (_JoinedTx if joins else _PostgresTx)(self.connection, self.statements, self.driver)

    async def run(self, frame: str) -> None:
        await self.driver.execute(frame)


class PostgresDatabase(Database):
    dialect = "postgresql"

    most_events_as_one = 400  # as many as the units of a transaction that pushes of ten share
    most_events_of_each = MANY - 1

    def __init__(
        self,
        url: str,
        *,
        pool_size: int,
        pool_timeout_seconds: float = 10,
        idle_seconds: float = _IDLE_SECONDS,
        row_level_security: bool = True,
    ) -> None:
        """Without `row_level_security` connections pass the second wall: units name nothing, and cost less."""
        super().__init__()
        self._has_wall = row_level_security
        self._pool_size = pool_size
        self._lines: WeakValueDictionary[TenantId, Line] = WeakValueDictionary()
        self._rests = f"SET LOCAL idle_in_transaction_session_timeout = {max(1, round(idle_seconds * 1000))}"
        self._is_closed = False
        self._ending: set[asyncio.Task[None]] = set()
        address, secured = _address(url)
        self._connecting = partial(
            _engine,
            address,
            secured=secured,
            pool_timeout=pool_timeout_seconds,
            server_settings={} if row_level_security else _WALL_DOWN,
        )
        self._engine = self._connecting(pool_size=pool_size, command_seconds=_COMMAND_SECONDS)

    @contextlib.asynccontextmanager
    async def transaction(self, within: Within = None, *, events: int = 0) -> AsyncIterator[Tx]:
        del events
        async with self._unit(self._begin(within)) as (connection, driver):
            tx = _PostgresTx(connection, self.statements, driver)
            yield tx
        self._tell(tx)

    @contextlib.asynccontextmanager
    async def in_turn(self, scope: TenantScope, *, events: int) -> AsyncIterator[Tx]:
        line = self._lines.get(scope.tenant_id)
        if line is None:
            opening = partial(self._open, self._begin(scope))
            line = self._lines[scope.tenant_id] = Line(opening, is_lost=_is_lost, told=self._tell)
        with _unavailable():
            async with line.unit(events=events) as tx:
                yield tx

    def _begin(self, within: Within) -> str:
        """Of a unit that writes."""
        return f"BEGIN ISOLATION LEVEL READ COMMITTED{_naming(within) if self._has_wall else ''}; {self._rests}"

    @contextlib.asynccontextmanager
    async def _open(self, begin: str) -> AsyncIterator[_Opened]:
        async with self._unit(begin) as (connection, driver):
            yield _Opened(connection, driver, self.statements)

    @contextlib.asynccontextmanager
    async def reading(
        self, within: Within = None, *, seconds: float | None = None, in_order: bool = False
    ) -> AsyncIterator[Reading]:
        # Without a tenant or a time there is nothing to set, and so nothing that would need a transaction.
        begin = None
        if (self._has_wall and within is not None) or seconds is not None or in_order:
            begin = f"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY{_naming(within) if self._has_wall else ''}"
            if isinstance(within, TenantScope):
                begin = f"{begin}; {PLANNED_ONCE}"
            if in_order:
                begin = f"{begin}; {UNSORTED}"
            if seconds is not None:
                begin = f"{begin}; SET LOCAL statement_timeout = {max(1, round(seconds * 1000))}"
        unit = self._unit(begin, is_timed=seconds is not None)
        try:
            async with unit if begin is None else self._ended_behind(unit) as (connection, driver):
                yield _PostgresReading(connection, self.statements, driver)
        except Unavailable as away:
            # The server counts on between two steps of the driver, which takes what it then says for a mistake of its own.
            if seconds is not None and isinstance(away.__cause__, asyncpg.InternalClientError):
                raise TookTooLong() from None
            raise

    @contextlib.asynccontextmanager
    async def _ended_behind(self, unit: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
        """Nothing is left to be stored when a block that only reads ends well: nobody waits for the word of the server."""
        opened = await unit.__aenter__()
        try:
            yield opened
        except BaseException as error:
            if not await unit.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            ending = asyncio.get_running_loop().create_task(_end(unit))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    @contextlib.asynccontextmanager
    async def snapshot(self, within: Within = None) -> AsyncIterator[Reading]:
        naming = _naming(within) if self._has_wall else ""
        begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{naming}; {_BY_KEY}"
        async with self._unit(begin) as (connection, driver):
            view = _PostgresReading(connection, self.statements, driver)
            await view.fetch("SELECT 1")  # it begins with the first statement
            yield view

    @contextlib.asynccontextmanager
    async def _unit(
        self, begin: str | None, engine: AsyncEngine | None = None, *, is_timed: bool = False
    ) -> AsyncIterator[tuple[AsyncConnection, "asyncpg.Connection[Any]"]]:
        """A connection of the pool, in a transaction that begins with `begin`, or, for None, in none.

        Raises `TookTooLong` where `begin` sets how long a statement may take.
        """
        if self._is_closed:
            raise Unavailable()
        with _unavailable(is_timed=is_timed):
            async with self._connected(engine or self._engine) as (connection, driver):
                try:
                    if begin is not None:
                        await driver.execute(f"{begin}; {_NOT_COMPILED}")
                    yield connection, driver
                    if begin is not None:
                        await _commit(driver)
                except BaseException as error:
                    is_sound = False
                    try:
                        await _roll_back(driver)
                        # Cancelled, maybe in the middle of BEGIN or COMMIT: nobody knows what the server has done of
                        # it. Put back into the pool, an open transaction would take the next unit in.
                        is_sound = isinstance(error, Exception) and not _is_lost(error) and _is_clean(driver)
                    finally:
                        if not is_sound:
                            await connection.invalidate()
                    raise
                finally:
                    if self._is_closed and not connection.invalidated:
                        # The pool that it would go back to has been given up: nobody else would close it.
                        await connection.invalidate()

    @contextlib.asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[tuple[AsyncConnection, "asyncpg.Connection[Any]"]]:
        async with contextlib.AsyncExitStack() as held:
            try:
                connection = await held.enter_async_context(connected(engine))
                driver = await self._usable_driver(connection)
            except exc.DBAPIError as error:
                # Whatever a server says that lets nobody in (it starts, it stops, it is full), it is away.
                raise Unavailable() from error
            yield connection, driver

    async def _usable_driver(self, connection: AsyncConnection) -> "asyncpg.Connection[Any]":
        # A pooled connection that the server has closed is noticed here, at no cost, and replaced: by another one of the
        # pool, and after a restart of the server all of those are closed.
        driver = await _driver(connection)
        for _ in range(self._pool_size):
            if _is_clean(driver):
                break
            await connection.invalidate()
            driver = await _driver(connection)
        return driver

    async def check(self) -> None:
        async with self.reading() as view:
            await view.fetch("SELECT 1")

    async def unguarded(self, tables: Collection[str]) -> Collection[str]:
        async with self.reading() as view:
            rows = await view.fetch(
                "SELECT relname FROM pg_class WHERE relname = ANY($1::text[]) AND relkind IN ('r', 'p')"
                " AND pg_table_is_visible(oid) AND NOT row_security_active(oid) ORDER BY relname",
                list(tables),
            )
        return [row[0] for row in rows]

    async def spared_the_disk(self) -> Sequence[str]:
        async with self.reading() as view:
            rows = await view.fetch(_SPARED_THE_DISK)
        return [row[0] for row in rows]

    async def most_connections(self) -> int | None:
        async with self.reading() as view:
            [[most, of_role, of_database, server_pid]] = await view.fetch(_MOST_CONNECTIONS)
            driver = await _driver(view.connection)
            if driver.get_server_pid() != server_pid:
                return None  # a pooler stands between, and says nothing of how many it takes
        return min(int(limit) for limit in (most, of_role, of_database) if limit >= 0)

    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        # Statements of migrations go through all rows of a table, and none of ours may take so long otherwise.
        engine = self._connecting(pool_size=1, command_seconds=_MIGRATION_SECONDS)
        given_up_at = time.monotonic() + _PATIENCE_SECONDS
        try:
            while True:
                try:
                    await self._migrate(engine, migrate)
                    return
                except Unavailable as away:
                    if not isinstance(_said_by_driver(away.__cause__ or away), _NOT_GIVEN):
                        raise
                    if time.monotonic() > given_up_at:
                        raise StartupError(_IN_USE) from away
                    _log.warning("database.migration_waits", again_in_seconds=_REST_SECONDS)
                await asyncio.sleep(_REST_SECONDS)
        finally:
            await engine.dispose()

    async def _migrate(self, engine: AsyncEngine, migrate: Callable[[Connection], None]) -> None:
        # Who has waited for the lock is to see what the one before has done.
        begin = f"BEGIN ISOLATION LEVEL READ COMMITTED{_naming(EVERY_TENANT)}; {_AS_LONG_AS_IT_TAKES}; {_AS_LONG_AS_WE_LIVE}"
        async with self._unit(begin, engine) as (connection, driver):
            await connection.begin()  # else Alembic would open and commit one of its own
            await driver.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
            # Only now: who waits for another one's migration has to wait for all of it.
            await driver.execute(f"SET LOCAL lock_timeout = {round(_TABLE_SECONDS * 1000)}")
            await connection.run_sync(migrate)

    async def close(self) -> None:
        self._is_closed = True
        if self._ending:
            await asyncio.wait(self._ending, timeout=_SECONDS_TO_END)
        await self._engine.dispose()


def _engine(
    url: str,
    *,
    secured: str | None,
    pool_size: int,
    pool_timeout: float,
    command_seconds: float,
    server_settings: Mapping[str, str],
) -> AsyncEngine:
    return create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout,
        connect_args={
            "async_creator_fn": _connect,
            "dsn": secured,
            "command_timeout": command_seconds,
            "server_settings": server_settings,
        },
    )


async def _connect(*where: Any, **how: Any) -> "asyncpg.Connection[Any]":
    """As asyncpg does, to a server that notices when this machine is gone.

    Not by `server_settings`, for which a PgBouncer refuses the hub. What stands between the two notices by its own settings,
    and what is set for a session there would be somebody else's.
    """
    driver: asyncpg.Connection[Any] = await asyncpg.connect(*where, timeout=_CONNECT_SECONDS, **how)
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _GONE.items())
    try:
        await driver.execute(
            f"SELECT {settings} WHERE pg_backend_pid() = {driver.get_server_pid()}", timeout=_CONNECT_SECONDS
        )
    except BaseException:
        driver.terminate()
        raise
    return driver


async def _end(unit: AbstractAsyncContextManager[Any]) -> None:
    with contextlib.suppress(Unavailable):  # what was read has been read
        await unit.__aexit__(None, None, None)


@contextlib.contextmanager
def _unavailable(*, is_timed: bool = False) -> Iterator[None]:
    """A database that is away is `Unavailable`; any other failure is a bug and stays one."""
    try:
        yield
    except StillLocked as late:
        if isinstance(late.__cause__, asyncpg.QueryCanceledError):
            _log.warning("database.statement_cancelled", advice=_ADVICE)
        raise
    except Exception as error:
        if isinstance(_said_by_driver(error), asyncpg.QueryCanceledError):
            if is_timed:
                raise TookTooLong() from None
            _log.warning("database.statement_cancelled", advice=_ADVICE)
            raise Unavailable() from error
        if _is_lost(error) or isinstance(_said_by_driver(error), _CROSSED):
            raise Unavailable() from error
        if isinstance(said := _said_by_driver(error), _DAMAGED):
            raise found_damaged(str(said)) from error
        raise


def _is_lost(error: BaseException) -> bool:
    said = _said_by_driver(error)
    if isinstance(error, _LOST) or isinstance(said, _LOST):
        return True
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


async def _commit(driver: "asyncpg.Connection[Any]") -> None:
    if await driver.execute("COMMIT") != "COMMIT":
        raise RuntimeError("the unit went on after a statement had failed, and so nothing of it is stored")


async def _roll_back(driver: "asyncpg.Connection[Any]") -> None:
    """Undo what is under way. A connection that cannot do so is not clean, or closed: it will be given up."""
    if driver.is_in_transaction():
        # What the caller must see is why, not that a lost connection cannot be rolled back either.
        with contextlib.suppress(*_LOST, asyncpg.PostgresError):
            await driver.execute("ROLLBACK")


def _said_by_driver(error: BaseException) -> BaseException | None:
    if isinstance(error, StillLocked):
        return error.__cause__
    if not isinstance(error, exc.DBAPIError):
        return error
    return error.orig and error.orig.__cause__


def _naming(within: Within) -> str:
    """What follows BEGIN in the same round trip."""
    match within:
        case None:
            return ""
        case EveryTenant():
            return f"; {naming_every_tenant()}"
        case scope:
            return f"; {naming(scope.tenant_id)}"


def _is_clean(driver: "asyncpg.Connection[Any]") -> bool:
    return not driver.is_closed() and not driver.is_in_transaction()


async def _driver(connection: AsyncConnection) -> "asyncpg.Connection[Any]":
    raw = await connection.get_raw_connection()
    driver: asyncpg.Connection[Any] | None = raw.driver_connection
    assert driver is not None
    return driver


def _address(url: str) -> tuple[str, str | None]:
    """Where the server is, as SQLAlchemy reads it; and what else the URL says, as asyncpg reads it.

    Raises `StartupError` for what the driver cannot promise.
    """
    _, _, rest = url.partition("://")
    address = make_url(f"postgresql+asyncpg://{rest}")
    if address.query.get("channel_binding") == "require":
        raise StartupError(
            "DATABASE_URL asks for channel_binding=require, which the hub cannot do. Leave it out, and ask for"
            " sslmode=verify-full, which lets nobody stand between the two either."
        )
    read = {name: value for name, value in address.query.items() if name in _AS_ELSEWHERE}
    bare = address.difference_update_query({*read, *_PASSED_OVER}).render_as_string(hide_password=False)
    return bare, f"postgresql://?{urlencode(read, doseq=True)}" if read else None

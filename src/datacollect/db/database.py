"""Units of work.

`async with db.transaction(scope) as tx:` is one unit of work; leaving the block without an exception means that the
work is on disk. `async with db.reading(scope) as view:` only reads. Both give two ways to speak to the database on the
same connection: `execute` takes SQLAlchemy Core statements (everything cold), `fetch`, `run` and `run_many` take the
driver's own SQL (the few hot statements, written by hand for each engine).

**A unit names the tenant it is about.** Every statement on a tenant's rows has the tenant in it; that is the first wall
between tenants. On PostgreSQL there is a second one: the database shows a unit no rows but those of the tenant that the
unit names, whatever its statements say. A unit that names none has the tables that all tenants share (accounts,
sessions, programs) and nothing else. The hub's own work on all tenants names `EVERY_TENANT`. SQLite has the first wall
only.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Connection, CursorResult, Executable, Result, Select

from datacollect.db.core import AsyncConnection
from datacollect.db.portions import Portion, portion_from_core, portion_in_core
from datacollect.kernel.identity import TenantScope


class EveryTenant(Enum):
    EVERY_TENANT = "every tenant"


EVERY_TENANT: Final = EveryTenant.EVERY_TENANT
"""For the hub's own work on all tenants: maintenance, and lists of programs. Never for what is about one tenant."""

Within = TenantScope | EveryTenant | None
"""Whose rows a unit of work is about; None for a unit that leaves tenants' rows alone."""

Dialect = Literal["sqlite", "postgresql"]


class Reading(ABC):
    """A view of the committed data."""

    dialect: Dialect

    def __init__(self, connection: AsyncConnection, statements: "StatementLog") -> None:
        self.connection = connection
        self._statements = statements

    async def execute(self, statement: Executable, parameters: Any = None) -> Result[Any]:
        """Run a Core statement; a list of parameter dicts runs it once for each."""
        self._statements.add(statement)
        return await self.connection.execute(statement, parameters)

    async def execute_portion(
        self, wanted: Select[Any], *, texts: Sequence[ColumnElement[Any]], most_bytes: int
    ) -> Portion[Any]:
        """As `fetch_portion`, for a Core statement with an order and a limit; its columns have names, each its own."""
        bounded = portion_in_core(wanted, texts, self.dialect, most_bytes)
        return portion_from_core((await self.execute(bounded)).all(), most_bytes)

    @abstractmethod
    async def fetch(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """All rows of one statement in the driver's own SQL (`?` or `$1` placeholders)."""

    @abstractmethod
    def listed(self, values: Collection[str] | Collection[int]) -> Any:
        """A list as one parameter of such a statement, however long: what `unnest` of PostgreSQL takes, or SQLite's
        `json_each`."""

    @abstractmethod
    async def fetch_portion(
        self, sql: str, *parameters: Any, texts: tuple[str, ...], most_bytes: int
    ) -> Portion[Sequence[Any]]:
        """As `fetch`, but the rows end with the one with which these columns come to `most_bytes`: there is always one
        if there is any. The statement has an end of its own (a LIMIT). Rows may have more columns than it asks for."""

    def for_rows(self, count: int) -> AbstractAsyncContextManager["Reading"]:
        """The same data for a statement that gives about so many rows. What glances has others read for it where they
        are many."""
        del count
        return contextlib.nullcontext(self)


class Tx(Reading):
    """A unit of work in progress; it is committed by the block that opened it, never by whoever receives it."""

    def __init__(self, connection: AsyncConnection, statements: "StatementLog") -> None:
        super().__init__(connection, statements)
        self._afterwards: list[Callable[[], None]] = []
        self.announced: set[str] = set()
        """What those are to be told of who follow it in this process, once the unit is on disk."""

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """As of a reading; the result also tells how many rows were changed."""
        self._statements.add(statement)
        return await self.connection.execute(statement, parameters)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the unit is on disk, and only then; it must neither wait nor raise.

        It is not called if the process ends first, or if nobody learns whether the commit went through.
        """
        self._afterwards.append(call)

    def announce(self, what: str) -> None:
        """Tell whoever follows `what` (see `Database.follow`) once the unit is on disk, in this process only."""
        self.announced.add(what)

    def committed(self) -> None:
        """For whoever commits the unit: it is on disk now."""
        for call in self._afterwards:
            call()

    @abstractmethod
    async def run(self, sql: str, *parameters: Any) -> None:
        """One statement in the driver's own SQL, without rows. SQLite is sent it, and fails if it does, with the next
        one that has rows or with the end of the unit."""

    @abstractmethod
    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """As `run`, once per row of parameters; nothing happens for no rows."""

    async def fetch_locked(self, sql: str, *parameters: Any) -> Sequence[Any]:
        """As `fetch`, for a statement that waits until nobody else holds its rows. Raises `StillLocked` where that is not so
        in time."""
        return await self.fetch(sql, *parameters)

    async def run_in_one_trip(self, *work: tuple[str, Sequence[Sequence[Any]]]) -> None:
        """Several statements, each once per row of parameters, where nothing is to be decided in between."""
        for sql, rows in work:
            await self.run_many(sql, rows)


class StatementLog:
    """Counts what is sent to the database, for tests that hold hot paths to a constant number of statements.

    A recording holds what its own task and those it starts send: what workers and timers look for beside them is theirs.
    """

    def add(self, statement: object) -> None:
        for log, recorder in _recordings.get():
            if log is self:
                recorder.append(str(statement))

    @contextlib.contextmanager
    def record(self) -> Iterator[list[str]]:
        recorder: list[str] = []
        _recordings.set((*_recordings.get(), (self, recorder)))
        try:
            yield recorder
        finally:
            # By identity: two recorders with equal contents are still two.
            _recordings.set(tuple(pair for pair in _recordings.get() if pair[1] is not recorder))


_recordings: ContextVar[tuple[tuple[StatementLog, list[str]], ...]] = ContextVar("recordings", default=())


class Database(ABC):
    """The hub's database. One per process."""

    dialect: Dialect

    most_events_as_one: int
    """Up to so many events that several append to one log at a time are appended as one."""

    most_events_of_each: int
    """For who appends more the events are most of the work, and little is gained."""

    def __init__(self) -> None:
        self.statements = StatementLog()
        self._followers: dict[str, list[Callable[[], None]]] = {}

    def follow(self, what: str, call: Callable[[], None]) -> None:
        """Call this after each commit of this process that announces `what`; it must neither wait nor raise."""
        self._followers.setdefault(what, []).append(call)

    def _tell(self, unit: Tx) -> None:
        """The unit is on disk now."""
        unit.committed()
        for what in unit.announced:
            for call in self._followers.get(what, ()):
                call()

    @abstractmethod
    def transaction(self, within: Within = None, *, events: int = 0) -> AbstractAsyncContextManager[Tx]:
        """Open a unit of work: all of it is stored when the block ends, or, if it raises, none of it.

        `events` tells, if that is known, how many events it would take to append as much as it writes, a few rows each:
        on SQLite little may go a shorter way than much, and need not wait for it.

        Raises `Unavailable` when the database cannot be reached, `TenantUnknown` for a tenant that cannot exist.
        """

    def in_turn(self, scope: TenantScope, *, events: int) -> AbstractAsyncContextManager[Tx]:
        """As `transaction`, for units that append so many events to a tenant's log and are many: they take turns in this
        process, and those that wait for each other are committed together, but for who appends few and many.

        A unit that fails, or is cancelled, is undone alone. When the connection is lost, or the commit fails, all that
        were to be committed with it raise, and nothing of any of them is stored.
        """
        return self.transaction(scope, events=events)

    @property
    def appends_as_one(self) -> bool:
        """Whether small appends to one log that wait for each other are quicker as one, now."""
        return True

    @abstractmethod
    def reading(
        self, within: Within = None, *, seconds: float | None = None, in_order: bool = False
    ) -> AbstractAsyncContextManager[Reading]:
        """Open a view of committed data; each statement sees what was committed when it began. Raises likewise.

        With `seconds`, a statement that runs longer is stopped in the database, and the block ends with `TookTooLong`.
        On SQLite they count for the whole block. With `in_order`, what a statement sorts by is the index it is to walk:
        PostgreSQL, which takes every tenant for one of average size, is not to read all rows and sort them.
        """

    def glancing(self, within: Within = None) -> AbstractAsyncContextManager[Reading]:
        """As `reading`, for statements that find a few rows by their keys, and are asked so often that the way to them is
        most of what they cost. Those that may find more go through `for_rows`."""
        return self.reading(within)

    @abstractmethod
    def snapshot(self, within: Within = None) -> AbstractAsyncContextManager[Reading]:
        """Open a view that shows, however long it lasts, what was committed when it was opened. Raises as `reading`.

        It keeps nobody from writing, but what it can still see cannot be tidied away meanwhile: SQLite's write-ahead
        log and PostgreSQL's tables grow by what is written. So whoever opens one must bound how long it lasts.
        """

    @abstractmethod
    async def check(self) -> None:
        """Answer whether the database can be used; raises `Unavailable` if not."""

    async def unguarded(self, tables: Collection[str]) -> Collection[str]:
        """Those of the tables whose rows the second wall should hold back, and does not."""
        del tables
        return ()

    async def spared_the_disk(self) -> Sequence[str]:
        """The settings by which the database has been told that a commit need not be on disk, and whole, when it is
        answered."""
        return ()

    async def most_connections(self) -> int | None:
        """How many the database gives this user at once; None where nobody counts them."""
        return None

    async def tidy(self) -> None:
        """To be called now and then by work that writes much beside a running hub, outside of units of work."""
        return

    async def cut_log(self) -> None:
        """Leave nothing of what has been deleted in a log that the engine keeps beside its data, as far as nobody reads it
        just now. Outside of units of work."""
        return

    @abstractmethod
    async def run_migration(self, migrate: Callable[[Connection], None]) -> None:
        """Call `migrate(sync_connection)` alone: no other process migrates meanwhile."""

    @abstractmethod
    async def close(self) -> None: ...


@contextlib.asynccontextmanager
async def closing(database: Database) -> AsyncIterator[Database]:
    try:
        yield database
    finally:
        await database.close()

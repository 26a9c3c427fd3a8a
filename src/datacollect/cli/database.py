"""Commands on the database."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import typer
from sqlalchemy import TableClause, inspect
from sqlalchemy.exc import DBAPIError

from datacollect.cli.alone import alone_in
from datacollect.cli.showing import shown
from datacollect.db import Database, Reading, open_database, sqlite_file
from datacollect.db.database import closing
from datacollect.db.migrate import is_up_to_date, migrate
from datacollect.features.tenants.errors import ProgramNotFound
from datacollect.kernel.errors import StartupError, Unavailable
from datacollect.kernel.ids import TenantId
from datacollect.logs import first_cause, reason_of
from datacollect.settings import Settings, load_settings


def migrate_database() -> None:
    """Bring the database up to date. `serve` does this too; run it alone to do it before a release goes live.

    On SQLite no hub may be running if there is something to do.
    """
    settings = load_settings()

    async def work() -> None:
        async with closing(open_configured(settings)) as database:
            await require_reachable(database)
            # A hub of the release before would go on writing by its rules into tables of this one's.
            await bring_up_to_date(database, holding=lambda: alone_in(settings))

    asyncio.run(work())
    typer.echo("The database is up to date.")


def require_data(settings: Settings) -> None:
    """Raises `StartupError` where no hub has kept anything: SQLite would begin a database, and what is asked of it would
    look like an answer."""
    # `Path.exists` raises where the folder may not be looked into.
    if settings.database_url is None and not os.path.exists(sqlite_file(settings.data_dir)):  # noqa: PTH110
        raise StartupError(
            f"There is no hub's data in DATA_DIR, {settings.data_dir}. Check DATA_DIR or DATABASE_URL; `datacollect migrate`"
            " begins a hub there."
        )


def open_configured(settings: Settings) -> Database:
    return open_database(
        settings.database_url, data_dir=settings.data_dir, pool_size=settings.db_pool_size, beside_a_hub=True
    )


async def require_reachable(database: Database) -> None:
    """Raises `StartupError` with the reason if the database cannot be used, whatever the driver makes of it."""
    try:
        async with database.transaction():
            pass
    except StartupError:
        raise
    except Exception as error:
        if database.dialect == "sqlite":
            raise _unusable(error) from error
        raise StartupError(
            f"The database cannot be reached ({reason_of(error)}). Check POSTGRES or DATABASE_URL."
        ) from error


def _unusable(error: BaseException) -> StartupError:
    return StartupError(f"hub.sqlite3 in DATA_DIR cannot be used ({reason_of(error)}). {advice_on_sqlite(error)}")


_MAKE_ROOM = "Make room on the disk of DATA_DIR."
_DISK_FULL = "53100"  # PostgreSQL's word


def advice_on_sqlite(error: BaseException) -> str:
    """What to do about what SQLite has told."""
    code = getattr(first_cause(error), "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        # What is shared beside the file is made anew after a clean stop, and that there is no room for it is no SQLITE_FULL.
        return _MAKE_ROOM
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "Another process is writing there and does not end: try again, or see which one has the file open."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return "Check DATA_DIR; if the file is damaged, restore a backup: docs/how-to/restore-a-backup.md."
        case sqlite3.SQLITE_FULL:
            return _MAKE_ROOM
        case _:
            return "Check DATA_DIR, its rights and its disk."


@contextlib.contextmanager
def storing_in(database: Database) -> Iterator[None]:
    """For what is stored before a hub serves. Raises `StartupError` with what to do where there is no room for it, or another
    process keeps SQLite's file: that it is to be tried again in a moment is said to devices."""
    try:
        yield
    except Unavailable as error:
        if database.dialect == "sqlite":
            raise _unusable(error) from error
        if getattr(first_cause(error), "sqlstate", None) == _DISK_FULL:
            raise StartupError(
                f"The database cannot store anything ({reason_of(error)}). Make room on the disk of PostgreSQL."
            ) from error
        raise


async def bring_up_to_date(
    database: Database, *, holding: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
) -> None:
    """Migrate, within `holding` if there is something to do. Raises `StartupError` with the reason if the database does not
    let us, or holds tables of something else."""
    try:
        with contextlib.nullcontext() if await is_up_to_date(database) else holding(), storing_in(database):
            await migrate(database)
    except DBAPIError as error:
        raise StartupError(
            f"The tables cannot be made or changed ({reason_of(error)}). The hub needs a database that its user owns and may"
            " write to, with nothing else in it. Nothing was changed."
        ) from error


async def has_table(view: Reading, table: TableClause) -> bool:
    return await view.connection.run_sync(lambda connection: inspect(connection).has_table(table.name))


def no_such_program(name: str) -> ProgramNotFound:
    return ProgramNotFound(f"There is no program {shown(name)}.")


def logs_asked_for(asked: Sequence[str], known: Sequence[TenantId]) -> Sequence[TenantId]:
    """Those that are named, each once; all that are known if none is. Raises `ProgramNotFound`."""
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise no_such_program(unknown[0])
    return [TenantId(name) for name in dict.fromkeys(asked)] or known

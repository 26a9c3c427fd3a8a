"""Bring the schema up to date, by Alembic, alone, whatever process starts first.

Whether it is up to date is seen without Alembic: reading it and all migrations takes longer than all else of a start, and
what it imports (Mako, and Pygments with its lexers) would stay in memory as long as the process lives.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table, text

from datacollect.db.database import Database
from datacollect.kernel.errors import StartupError

_VERSIONS = Path(__file__).with_name("migrations") / "versions"
_applied = table("alembic_version", column("version_num"))


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; does nothing on an up-to-date schema.

    Raises `StartupError` for a schema that no release up to this one has made, and for a database that does not hold every
    letter, empty or not: it may have come by a dump.
    """

    def up_to_date(connection: Connection) -> None:
        applied = applied_revisions(connection)
        if applied == [latest_revision()]:
            return
        _require_known(applied)
        from datacollect.db.upgrading import upgrade  # noqa: PLC0415 - see above

        upgrade(connection)

    async with database.reading() as view:
        if database.dialect == "postgresql":
            _require_every_letter((await view.execute(text("SHOW server_encoding"))).scalar_one())
        if await view.connection.run_sync(applied_revisions) == [latest_revision()]:
            return  # as nearly always, and nobody is to be waited for
    await database.run_migration(up_to_date)


async def is_up_to_date(database: Database) -> bool:
    """Whether `migrate` has nothing to do. Raises `StartupError` for a schema that no release up to this one has made."""
    async with database.reading() as view:
        applied = await view.connection.run_sync(applied_revisions)
    _require_known(applied)
    return applied == [latest_revision()]


def _require_every_letter(encoding: str) -> None:
    if encoding != "UTF8":
        raise StartupError(
            f"The database's encoding is {encoding}, which does not hold the names of all people. Make one with"
            " ENCODING 'UTF8' TEMPLATE template0, and restore into it what there is: docs/how-to/run-on-postgresql.md."
            " Nothing was changed."
        )


def applied_revisions(connection: Connection) -> Sequence[str]:
    """What the database's schema is: nothing for an empty one."""
    if not inspect(connection).has_table(_applied.name):
        return []
    return connection.execute(select(_applied.c.version_num)).scalars().all()


def _require_known(applied: Sequence[str]) -> None:
    for revision in applied:
        if revision not in _revisions():
            raise StartupError(
                f"The database has schema {revision}, which this release does not know: a newer release, or another program, made it."
                " Start that release, or restore a backup from before it. Nothing was changed."
            )


def latest_revision() -> str:
    """That of this release."""
    return max(_revisions())


@cache
def _revisions() -> frozenset[str]:
    """Each file of a migration begins with its revision, and they are in order."""
    return frozenset(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py"))

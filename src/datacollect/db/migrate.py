"""Bring the schema up to date, by Alembic, alone, whatever process starts first."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datacollect.db.database import Database
from datacollect.kernel.errors import StartupError

_SCRIPTS = Path(__file__).with_name("migrations")


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; does nothing on an up-to-date schema.

    Raises `StartupError` for a schema that no release up to this one has made.
    """

    def upgrade(connection: Connection) -> None:
        applied = MigrationContext.configure(connection).get_current_heads()
        if applied == (latest_revision(),):
            # Reading all migrations takes longer than all else of a start.
            return
        _require_known(applied)
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    await database.run_migration(upgrade)


def _require_known(applied: Sequence[str]) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(migration_config()).walk_revisions()}
    for revision in applied:
        if revision not in known:
            raise StartupError(
                f"The database has schema {revision}, which this release does not know: a newer release, or another program, made it."
                " Start that release, or restore a backup from before it. Nothing was changed."
            )


def migration_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


@cache
def latest_revision() -> str | None:
    return ScriptDirectory.from_config(migration_config()).get_current_head()

"""Bring the schema up to date, by Alembic, alone, whatever process starts first."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datacollect.db.database import Database

_SCRIPTS = Path(__file__).with_name("migrations")


async def migrate(database: Database) -> None:
    """Run the migrations that are missing; does nothing on an up-to-date schema."""

    def upgrade(connection: Connection) -> None:
        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    await database.run_migration(upgrade)


def migration_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    return config


def latest_revision() -> str | None:
    return ScriptDirectory.from_config(migration_config()).get_current_head()

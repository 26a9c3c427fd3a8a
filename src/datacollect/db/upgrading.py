"""Alembic at work: imported only where there is something to migrate, or to look at."""

from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from datacollect.kernel.errors import StartupError

_SCRIPTS = Path(__file__).with_name("migrations")


def upgrade(connection: Connection, applied: Sequence[str]) -> None:
    """Run what is missing after the revisions that are `applied`. Raises `StartupError` for one that we do not have."""
    config = migration_config()
    _require_known(config, applied)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _require_known(config: Config, applied: Sequence[str]) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
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

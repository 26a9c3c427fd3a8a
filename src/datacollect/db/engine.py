"""Choose the engine from the database URL."""

from pathlib import Path

from sqlalchemy.exc import ArgumentError

from datacollect.db.database import Database
from datacollect.kernel.errors import StartupError


def sqlite_file(data_dir: Path) -> Path:
    return data_dir / "hub.sqlite3"


def open_database(
    url: str | None, *, data_dir: Path, pool_size: int, row_level_security: bool = True, beside_a_hub: bool = False
) -> Database:
    """PostgreSQL when there is a URL, else the SQLite file in the data folder; `beside_a_hub` that may be writing there.

    Raises `StartupError` for a URL of another scheme or a data folder that cannot be written.
    """
    if url is None:
        from datacollect.db.sqlite import SqliteDatabase

        return SqliteDatabase(sqlite_file(data_dir), beside_a_hub=beside_a_hub)
    if url.partition(":")[0] not in {"postgres", "postgresql"}:
        raise StartupError("DATABASE_URL must begin with postgresql:// (leave it out to use SQLite in DATA_DIR)")
    try:
        from datacollect.db.postgres import PostgresDatabase
    except ModuleNotFoundError as missing:
        raise StartupError("PostgreSQL support is not installed: pip install 'datacollect-hub[postgres]'") from missing
    try:
        return PostgresDatabase(url, pool_size=pool_size, row_level_security=row_level_security)
    except (ValueError, ArgumentError):
        # Whatever could not be read may be a part of the password: neither said nor kept as the cause.
        raise StartupError("DATABASE_URL cannot be read; write special characters in its password as %XX") from None

"""Choose the engine from the database URL."""

from pathlib import Path
from urllib.parse import urlsplit

from datacollect.db.database import Database
from datacollect.kernel.errors import StartupError


def open_database(url: str | None, *, data_dir: Path, pool_size: int) -> Database:
    """PostgreSQL when there is a URL, else the SQLite file in the data folder.

    Raises `StartupError` for a URL of another scheme or a data folder that cannot be written.
    """
    if url is None:
        from datacollect.db.sqlite import SqliteDatabase

        return SqliteDatabase(data_dir / "hub.sqlite3")
    if urlsplit(url).scheme not in {"postgres", "postgresql"}:
        raise StartupError("DATABASE_URL must begin with postgresql:// (leave it out to use SQLite in DATA_DIR)")
    try:
        from datacollect.db.postgres import PostgresDatabase
    except ModuleNotFoundError as missing:
        raise StartupError("PostgreSQL support is not installed: pip install 'datacollect-hub[postgres]'") from missing
    return PostgresDatabase(url, pool_size=pool_size)

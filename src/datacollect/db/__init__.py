"""The database: one unit of work at a time, on SQLite or PostgreSQL."""

from datacollect.db.database import EVERY_TENANT, Database, Dialect, EveryTenant, Reading, Tx, Within
from datacollect.db.engine import open_database, sqlite_file
from datacollect.db.inserting import insert_for, insert_into

__all__ = [
    "EVERY_TENANT",
    "Database",
    "Dialect",
    "EveryTenant",
    "Reading",
    "Tx",
    "Within",
    "insert_for",
    "insert_into",
    "open_database",
    "sqlite_file",
]

"""The database: one unit of work at a time, on SQLite or PostgreSQL."""

from datacollect.db.database import Database, Reading, Tx
from datacollect.db.engine import open_database

__all__ = ["Database", "Reading", "Tx", "open_database"]

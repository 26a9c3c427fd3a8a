"""Inserts that meet rows: both engines have `ON CONFLICT`, and SQLAlchemy only in what is each engine's own."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.db.database import Dialect, Tx


def insert_into(tx: Tx, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return insert_for(tx.dialect, table)


def insert_for(dialect: Dialect, table: Table) -> postgresql.Insert | sqlite.Insert:
    """As `insert_into`, for statements that are made once for each engine."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)

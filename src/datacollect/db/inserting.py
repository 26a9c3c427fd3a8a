"""Inserts that meet rows: both engines have `ON CONFLICT`, and SQLAlchemy only in what is each engine's own."""

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from datacollect.db.database import Tx


def insert_into(tx: Tx, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return postgresql.insert(table) if tx.dialect == "postgresql" else sqlite.insert(table)

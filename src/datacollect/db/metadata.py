"""The one SQLAlchemy metadata that every slice's `tables.py` declares its tables on.

All text is compared and sorted byte by byte, on both engines and wherever the database was made: a migration that adds a
column of text says `COLLATE "C"` for PostgreSQL, whose own choice is the language of the operating system.
"""

from sqlalchemy import JSON, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

JsonDocument = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value the database may look into: jsonb on PostgreSQL, text on SQLite."""

JsonText = Text
"""JSON kept as the exact text it was written in; the database never looks inside."""

SHARED = {"is_shared": True}
"""`info` of a table that names tenants in its rows and is shared by them all, as the accounts are."""

"""The accounts' table. Small and shared by all tenants."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from datacollect.db.metadata import JsonText, metadata

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    # Trimmed and case-folded, so that one address is one account.
    Column("email", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("tenant_ids", JsonText, nullable=False),
    Column("role_assignments", JsonText, nullable=False),
    # Raised to end every token issued before; see kernel/tokens.py.
    Column("version", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

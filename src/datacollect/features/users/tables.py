"""The tables of accounts. Small and shared by all tenants."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, Table, Text, false

from datacollect.db.metadata import SHARED, JsonText, metadata

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
    # With a default, so that a hub of the release before can go on writing rows beside this one.
    Column("must_change_password", Boolean, nullable=False, server_default=false()),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

user_tenants = Table(
    "user_tenants",
    metadata,
    # Who belongs to a program, for lists. What somebody may do is read from `users` alone.
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    # The highest one there; none for assignments that grant nothing.
    Column("role", Text),
    Index(None, "user_id"),
    info=SHARED,
)

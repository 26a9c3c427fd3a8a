"""Tables of signing in. Small and shared by all tenants."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import metadata

sessions = Table(
    "sessions",
    metadata,
    # One row per sign-in: the family of all refresh tokens that follow from it.
    Column("family", Text, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("current_hash", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary),
    Column("rotated_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    # All below are null in rows of an older hub. The first three are those of the last sign-in or refresh.
    Column("last_used_ms", BigInteger),
    Column("origin", Text),
    Column("user_agent", Text),
    # The account's when it signed in: once the account has another one, the family is over.
    Column("version", Integer),
)

attempts = Table(
    "attempts",
    metadata,
    # Such as `login:ip:192.0.2.7`: counted in the database, so that a restart or another process forgets nothing.
    Column("key", Text, primary_key=True),
    Column("window_began_ms", BigInteger, nullable=False, index=True),
    Column("count", Integer, nullable=False),
)

familiar_origins = Table(
    "familiar_origins",
    metadata,
    # From where an account has signed in; the account as the keyed hash that its attempts are counted under.
    Column("account", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("seen_ms", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("account", "origin"),
)

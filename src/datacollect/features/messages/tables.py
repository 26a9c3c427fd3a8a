"""The outbox, and how much of a day's budget is used."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import metadata

messages = Table(
    "messages",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("masked", Text, nullable=False),
    # Address, text and what else is to be sent, sealed. Null as soon as it is not to be sent any more.
    Column("content", Text),
    Column("status", Text, nullable=False),
    Column("code", Text),
    # How often it was begun to be sent, and how often nobody learned what became of that.
    Column("attempts", Integer, nullable=False),
    Column("unsure", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index(None, "tenant_id", "created_ms", "id"),
)
message_days = Table(
    "message_days",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # In UTC, as `YYYY-MM-DD`.
    Column("day", Text, nullable=False),
    Column("used", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "day"),
)

"""The log's tables. Both adapters write them with statements of their own; migrations are made from here."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from datacollect.db.metadata import JsonText, metadata

log_heads = Table(
    "log_heads",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("max_occurred_ms", BigInteger),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("figures", JsonText, nullable=False),
    # Which unbroken history this is (renewed by restore and purge), and the position it began at.
    Column("epoch", Text, nullable=False),
    Column("epoch_position", BigInteger, nullable=False),
    # Set while the program is archived. Read under the lock of every append, so that stopping is a matter of commits.
    Column("closed_ms", BigInteger),
    # How far the log is filed by place; NULL while nobody reads only a part of it.
    Column("scoping", JsonText),
)

events = Table(
    "events",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("guid", Text, nullable=False),
    Column("entity_guid", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("occurred_ms", BigInteger, nullable=False),
    Column("max_occurred_ms", BigInteger, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("device_id", Text),
    Column("origin", Text, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("chain_hash", LargeBinary, nullable=False),
    Column("body", JsonText, nullable=False),
    PrimaryKeyConstraint("tenant_id", "position"),
    UniqueConstraint("tenant_id", "guid"),
    Index(None, "tenant_id", "entity_guid", "position"),
    Index(None, "tenant_id", "occurred_ms", "position"),
    sqlite_with_rowid=False,
)

log_segments = Table(
    "log_segments",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    # Of the history it was sealed of: it is served for no other.
    Column("epoch", Text, nullable=False),
    # Empty for a run that is left to the table.
    Column("packed", LargeBinary, nullable=False),
    Column("lengths", LargeBinary, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("last_occurred_ms", BigInteger, nullable=False),
    Column("last_guid", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "number"),
)
"""What `segments.py` says. Can be deleted at any time: it is made again from the events."""

"""The quarantine."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

quarantine = Table(
    "quarantine",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("event_guid", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("device_id", Text),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("body", JsonText, nullable=False),
    Column("kind", Text, nullable=False, server_default="refused"),
    Column("status", Text, nullable=False, server_default="open"),
    Column("entity_guid", Text, nullable=False, server_default=""),
    Column("path", JsonText),
    Column("last_seen_ms", BigInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("closed_ms", BigInteger),
    Column("closed_by", Text),
    Column("reason", Text),
    # The event that was applied instead, when it was edited or got another guid.
    Column("replayed_body", JsonText),
    PrimaryKeyConstraint("tenant_id", "id"),
    Index(None, "tenant_id", "status", "received_ms", "id"),
    Index(None, "tenant_id", "received_ms", "id"),
    Index(None, "tenant_id", "event_guid"),
    Index(None, "tenant_id", "entity_guid"),
)
"""Events that were refused: kept as they came, with the reason, and with what an operator did about them."""

"""Conflicts between writes of one entity. Written in the transaction of the event that lost."""

from sqlalchemy import BigInteger, Column, Index, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

conflicts = Table(
    "conflicts",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("guid", Text, nullable=False),
    Column("entity_guid", Text, nullable=False),
    # Which kind of event brings the outcome.
    Column("entity_type", Text, nullable=False),
    Column("local_version", JsonText, nullable=False),
    Column("remote_version", JsonText, nullable=False),
    # The values that lost, by field: what is at stake.
    Column("lost", JsonText, nullable=False),
    Column("local_event_guid", Text, nullable=False),
    Column("remote_event_guid", Text, nullable=False),
    Column("detected_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger),
    Column("resolution", Text),
    Column("resolved_by", Text),
    Column("merged_data", JsonText),
    PrimaryKeyConstraint("tenant_id", "guid"),
    Index(None, "tenant_id", "resolved_ms", "detected_ms", "guid"),
    Index(None, "tenant_id", "entity_guid"),
)

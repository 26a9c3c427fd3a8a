"""What was found when stored events were checked against their forms. Written in the event's transaction."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

form_findings = Table(
    "form_findings",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("event_guid", Text, nullable=False),
    # Counts the findings of one event.
    Column("ordinal", Integer, nullable=False),
    Column("entity_guid", Text, nullable=False),
    Column("form", Text, nullable=False),
    Column("path", JsonText, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "event_guid", "ordinal"),
    Index(None, "tenant_id", "recorded_ms", "event_guid", "ordinal"),
    # Named by hand: PostgreSQL would cut the conventional name.
    Index("ix_form_findings_by_entity", "tenant_id", "entity_guid", "recorded_ms", "event_guid", "ordinal"),
)

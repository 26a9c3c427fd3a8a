"""What the events themselves do not tell of the audit trail. Decision 6 says what that is."""

from sqlalchemy import BigInteger, Column, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint, text

from datacollect.db.metadata import JsonText, metadata

_AHEAD = text("occurred_ms > recorded_ms")

audit_log = Table(
    "audit_log",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # Of the event that made it; of a pushed entry, where the log ended then.
    Column("position", BigInteger, nullable=False),
    Column("ordinal", BigInteger, nullable=False),
    Column("guid", Text, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    # The time that is shown: of a pushed entry the one it claims.
    Column("occurred_ms", BigInteger, nullable=False),
    Column("user_id", Text, nullable=False),
    # Of pushed entries: the `userId` they came with, who sent them, and from where. Of others the event tells it.
    Column("claimed_user_id", Text),
    Column("actor", Text),
    Column("device_id", Text),
    Column("action", Text, nullable=False),
    Column("event_guid", Text, nullable=False),
    Column("entity_guid", Text, nullable=False),
    # NULL: it stands in the event's body.
    Column("changes", JsonText),
    Column("signature", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "position", "ordinal"),
    UniqueConstraint("tenant_id", "guid"),
    Index(None, "tenant_id", "entity_guid", "position"),
    # The few entries of devices whose clocks are ahead: `since` may select them after they were recorded.
    Index("ix_audit_log_ahead", "tenant_id", "occurred_ms", sqlite_where=_AHEAD, postgresql_where=_AHEAD),
    sqlite_with_rowid=False,
)

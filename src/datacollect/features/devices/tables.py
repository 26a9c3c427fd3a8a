"""Tables of devices. Nothing here decides what a sync does but `device_revocations`."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

device_sync_summary = Table(
    "device_sync_summary",
    metadata,
    Column("tenant_id", Text, nullable=False),
    # Empty for callers that an identity provider vouches for: they have no account here.
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("first_seen_ms", BigInteger, nullable=False),
    Column("last_pull_ms", BigInteger),
    Column("last_push_ms", BigInteger),
    Column("total_pulled", BigInteger, nullable=False),
    Column("total_pushed", BigInteger, nullable=False),
    Column("last_scope_hash", Text),
    Column("clock_samples", JsonText, nullable=False),
    Column("clock_ahead", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant_id", "user_id", "device_id"),
)

sync_activity = Table(
    "sync_activity",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("occurred_ms", BigInteger, nullable=False),
    Column("id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("event_count", Integer, nullable=False),
    Column("scope_hash", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "occurred_ms", "id"),
)
"""One row per call, for 90 days. In order of time, so that old rows are found without a search."""

device_revocations = Table(
    "device_revocations",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("device_id", Text, nullable=False),
    # Empty: whoever signs in on the device.
    Column("user_id", Text, nullable=False),
    Column("revoked_ms", BigInteger, nullable=False),
    Column("revoked_by", Text, nullable=False),
    Column("restored_ms", BigInteger),
    Column("restored_by", Text),
    PrimaryKeyConstraint("tenant_id", "device_id", "user_id"),
)
"""A table of its own: a device is shut out for users it has not been seen with, and before it has been seen at all."""

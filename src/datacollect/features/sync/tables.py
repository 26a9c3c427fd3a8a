"""Tables of sync beside the log itself."""

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table, Text

from datacollect.db.metadata import JsonText, metadata

event_places = Table(
    "event_places",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "place", "position"),
    sqlite_with_rowid=False,
)
"""The log by place: which events a device that holds only a part of a program gets. See `places.py`."""

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
    PrimaryKeyConstraint("tenant_id", "id"),
)
"""Events that were refused while their batch went on: kept as they came, with the reason, for an operator."""
